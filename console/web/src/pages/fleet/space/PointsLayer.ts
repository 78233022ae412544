// A point a credential: points and not instances, which without a graphics card would each cost as much as a draw call. Its shape says whether it tried what it was not granted, so that colour is never alone in saying it.
import { Layer, project32, type LayerProps, type UpdateParameters } from "@deck.gl/core";
import { Model } from "@luma.gl/engine";

const vs = `\
#version 300 es
#define SHADER_NAME points-vertex
in vec3 places;
in vec2 looks;    // radius in px, shape: 0 disc, 1 diamond, 2 triangle
in vec4 colors;
out vec4 vColor;
flat out vec2 vLook;
void main() {
  geometry.worldPosition = places;
  vColor = colors;
  vLook = looks;
  gl_Position = project_position_to_clipspace(places, vec3(0.0), vec3(0.0), geometry.position);
  gl_PointSize = 2.0 * looks.x * project.devicePixelRatio;
  if (colors.a == 0.0) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
}
`;
const fs = `\
#version 300 es
#define SHADER_NAME points-fragment
precision highp float;
in vec4 vColor;
flat in vec2 vLook;
out vec4 fragColor;
void main() {
  vec2 unit = gl_PointCoord * 2.0 - 1.0; // y points down
  float d;
  if (vLook.y < 0.5) d = length(unit);
  else if (vLook.y < 1.5) d = abs(unit.x) + abs(unit.y);
  else d = max(abs(unit.x) * 1.1 - unit.y * 0.55 + 0.45, unit.y + 0.15); // its tip is up
  if (d > 1.0) discard;
  float rim = vLook.x > 3.0 && d > 1.0 - 1.2 / vLook.x ? 0.72 : 1.0;
  fragColor = vec4(vColor.rgb * rim, vColor.a);
}
`;

type Props = LayerProps & {
  data: unknown;
  /** How many of the points are drawn, from the first. */
  most: number;
};

export class PointsLayer extends Layer<Required<Props>> {
  static override layerName = "PointsLayer";
  static override defaultProps = { most: { type: "number", value: Infinity } } as any;
  declare state: { model?: Model };

  override getShaders() {
    return super.getShaders({ vs, fs, modules: [project32] });
  }
  override initializeState() {
    this.getAttributeManager()!.add({
      places: { size: 3, accessor: "getPosition" },
      looks: { size: 2, accessor: "getLooks" },
      colors: { size: 4, type: "unorm8", accessor: "getColors" },
    });
    this.state.model = new Model(this.context.device, {
      ...this.getShaders(),
      id: this.props.id,
      bufferLayout: this.getAttributeManager()!.getBufferLayouts(),
      topology: "point-list",
      isInstanced: false,
    });
  }
  override updateState(params: UpdateParameters<this>) {
    super.updateState(params);
    if (params.props.most !== params.oldProps.most) this.setNeedsRedraw();
  }
  override draw() {
    this.state.model?.setVertexCount(Math.min(this.props.most, (this.props.data as { length: number }).length));
    this.state.model?.draw(this.context.renderPass);
  }
}
