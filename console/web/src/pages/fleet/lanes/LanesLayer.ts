// The bars in one draw call. A bar's row, times and look are attributes that stay on the graphics card; what changes while one
// scrolls or zooms are a few uniforms. Without a graphics card each instance costs some twenty microseconds, so that a bar is
// two triangles whose six corners carry the same attributes, and which corner it is follows from its number.
import { Layer, type LayerProps, type UpdateParameters } from "@deck.gl/core";
import { Model } from "@luma.gl/engine";
import type { ShaderModule } from "@luma.gl/shadertools";

/** Corners of a bar: two triangles. */
export const corners = 6;

/** Bits of a bar's third look: what is not known of it. */
export const noStart = 1, noEnd = 2, never = 4, noScope = 8, noUse = 16, attempted = 32;

export interface View {
  width: number; height: number;
  /** Hours from now at the left edge, and pixels an hour. */
  from: number; perHour: number;
  scroll: number; rowScale: number;
  ground: [number, number, number, number];
  signal: [number, number, number, number];
}

const block = `\
layout(std140) uniform lanesUniforms {
  vec4 ground;
  vec4 signal;
  float width;
  float height;
  float timeFrom;
  float perHour;
  float scrollTop;
  float rowScale;
} lanes;
`;
const module_ = {
  name: "lanes", vs: block, fs: block,
  uniformTypes: { ground: "vec4<f32>", signal: "vec4<f32>", width: "f32", height: "f32", timeFrom: "f32", perHour: "f32", scrollTop: "f32", rowScale: "f32" },
} as const satisfies ShaderModule;

const vs = `\
#version 300 es
#define SHADER_NAME lanes-vertex
in vec2 times;    // hours from now: begin, end
in vec2 rows;     // top of the row, its height (0: hidden)
in vec3 looks;    // thickness in px, share filled, what is unknown (bits)
in vec4 colors;
out vec4 vColor;
out vec2 vAt;            // px from the bar's left top
flat out vec2 vSize;
flat out vec3 vLook;     // filled, bits, px of now from the bar's left
void main() {
  int corner = gl_VertexID % ${corners};
  vec2 unit = vec2(corner == 1 || corner == 3 || corner == 4 ? 1.0 : 0.0, corner == 2 || corner == 4 || corner == 5 ? 1.0 : 0.0);
  float bits = looks.z;
  float rowTop = rows.x * lanes.rowScale - lanes.scrollTop;
  float rowHeight = rows.y * lanes.rowScale;
  float thick = max(1.0, min(looks.x * min(1.0, lanes.rowScale), rowHeight));
  float left = (times.x - lanes.timeFrom) * lanes.perHour;
  float right = (times.y - lanes.timeFrom) * lanes.perHour;
  float nowX = -lanes.timeFrom * lanes.perHour;
  int b = int(bits + 0.5);
  if ((b & ${noStart}) != 0) left = right - 90.0;
  if ((b & ${noEnd}) != 0) right = max(left, nowX) + 90.0;
  if ((b & ${noStart}) != 0 && (b & ${noEnd}) != 0) { left = nowX - 60.0; right = nowX + 60.0; }
  if ((b & ${noStart}) != 0 && (b & ${never}) != 0) left = nowX - 90.0;
  if ((b & ${never}) != 0) right = lanes.width + 40.0;
  if (right - left < 3.0) { float mid = 0.5 * (left + right); left = mid - 1.5; right = mid + 1.5; }
  bool away = rows.y <= 0.0 || rowTop > lanes.height || rowTop + rowHeight < 0.0 || right < 0.0 || left > lanes.width;
  // What lies far outside is cut, so that the pattern's coordinates stay exact.
  left = max(left, -60.0);
  right = min(right, lanes.width + 60.0);
  float top = rowTop + 0.5 * (rowHeight - thick);
  if (lanes.rowScale >= 0.99) top = floor(top + 0.5);
  vSize = vec2(right - left, thick);
  vAt = unit * vSize;
  vLook = vec3(looks.y, bits, nowX - left);
  vColor = colors;
  vec2 px = vec2(left, top) + vAt;
  gl_Position = away ? vec4(2.0, 2.0, 2.0, 1.0) : vec4(px.x / lanes.width * 2.0 - 1.0, 1.0 - px.y / lanes.height * 2.0, 0.0, 1.0);
}
`;
const fs = `\
#version 300 es
#define SHADER_NAME lanes-fragment
precision highp float;
in vec4 vColor;
in vec2 vAt;
flat in vec2 vSize;
flat in vec3 vLook;
out vec4 fragColor;
void main() {
  int bits = int(vLook.y + 0.5);
  vec3 ground = lanes.ground.rgb;
  vec3 body = mix(ground, vColor.rgb, 0.42);
  vec3 color = body;
  float alpha = 1.0;
  bool future = vAt.x > vLook.z;
  float edge = min(min(vAt.y, vSize.y - vAt.y), min(vAt.x, vSize.x - vAt.x));
  if (future) {
    // Exposure still to come: stripes.
    float stripe = mod(vAt.x - vLook.z + vAt.y, 7.0);
    if (vSize.y < 4.0) color = mix(ground, vColor.rgb, 0.45);
    else color = stripe < 2.6 ? mix(ground, vColor.rgb, 0.75) : mix(ground, vColor.rgb, 0.13);
    if (vSize.y > 5.0 && edge < 1.0) color = vColor.rgb;
  } else if (vLook.x > 0.0) {
    // Use against what is expected fills the bar from below.
    float filled = min(1.0, vLook.x);
    if (vSize.y < 4.0) color = mix(body, vColor.rgb, filled);
    else if (vSize.y - vAt.y <= max(1.0, vSize.y * filled)) color = vColor.rgb;
  }
  if ((bits & ${noUse}) != 0 && !future) {
    // Unknown use: dots instead of a fill.
    vec2 d = mod(vAt, vec2(6.0, 4.0)) - vec2(3.0, 2.0);
    color = dot(d, d) < 1.3 ? vColor.rgb : mix(ground, vColor.rgb, 0.22);
  }
  if ((bits & ${noScope}) != 0) {
    // Unknown scope: an outline of dashes, hollow.
    bool rim = edge < 1.2 && mod(vAt.x, 8.0) < 5.0;
    if (rim) color = vColor.rgb;
    else color = mix(ground, color, 0.45);
  }
  // An end that is not known fades away in steps.
  if ((bits & ${noEnd}) != 0 && vAt.x > vSize.x - 60.0) {
    float t = (vSize.x - vAt.x) / 60.0;
    if (mod(vAt.x, 8.0) > 8.0 * t) alpha = 0.0;
  }
  if ((bits & ${noStart}) != 0 && vAt.x < 60.0) {
    float t = vAt.x / 60.0;
    if (mod(vAt.x, 8.0) > 8.0 * t) alpha = 0.0;
  }
  // Attempts: a mark at the bar's beginning that thin bars show as well; the exact times are drawn over it when they are known.
  if ((bits & ${attempted}) != 0 && vAt.x > min(vLook.z, vSize.x) - 3.0 && vAt.x <= min(vLook.z, vSize.x)) { color = lanes.signal.rgb; alpha = 1.0; }
  if (alpha == 0.0) discard;
  fragColor = vec4(color, alpha);
}
`;

type Props = LayerProps & { data: unknown; view: View };

export class LanesLayer extends Layer<Required<Props>> {
  static override layerName = "LanesLayer";
  static override defaultProps = { view: { type: "object", value: null, compare: true } } as any;
  declare state: { model?: Model };

  override getShaders() {
    return super.getShaders({ vs, fs, modules: [module_] });
  }
  override initializeState() {
    this.getAttributeManager()!.add({
      times: { size: 2, accessor: "getTimes" },
      rows: { size: 2, accessor: "getRows" },
      looks: { size: 3, accessor: "getLooks" },
      colors: { size: 4, type: "unorm8", accessor: "getColors" },
    });
    this.state.model = new Model(this.context.device, {
      ...this.getShaders(),
      id: this.props.id,
      bufferLayout: this.getAttributeManager()!.getBufferLayouts(),
      topology: "triangle-list",
      isInstanced: false,
      parameters: { depthWriteEnabled: false, depthCompare: "always" },
    });
  }
  override updateState(params: UpdateParameters<this>) {
    super.updateState(params);
    if (params.props.view !== params.oldProps.view) this.setNeedsRedraw();
  }
  override draw() {
    const v = this.props.view;
    const model = this.state.model;
    if (!model || !v) return;
    model.shaderInputs.setProps({
      lanes: { ground: v.ground, signal: v.signal, width: v.width, height: v.height, timeFrom: v.from, perHour: v.perHour, scrollTop: v.scroll, rowScale: v.rowScale },
    });
    model.setVertexCount((this.props.data as { length: number }).length);
    model.draw(this.context.renderPass);
  }
}
