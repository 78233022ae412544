import { mount } from "svelte";
import "./app/base.css";
import "./app/theme.svelte";
import "./lib/fleet/early";
import Shell from "./app/Shell.svelte";

mount(Shell, { target: document.getElementById("app")! });
