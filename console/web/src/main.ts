import { mount } from "svelte";
import "./app/base.css";
import "./app/theme.svelte";
import Shell from "./app/Shell.svelte";

mount(Shell, { target: document.getElementById("app")! });
