// What a dashboard of ours is, in Grafana's own types. The JSON of each is put behind `satisfies OurDashboard`.
import type { Dashboard, FieldConfig, FieldConfigSource, Panel, RowPanel, VariableModel } from '@grafana/schema';
import type * as bargauge from './node_modules/@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as stat from './node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from './node_modules/@grafana/schema/dist/types/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from './node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import type * as xychart from './node_modules/@grafana/schema/dist/types/raw/composable/xychart/panelcfg/x/XYChartPanelCfg_types.gen';

// JSON has texts where the types have enums of texts.
type Plain<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;

// grafana/clickhouse-datasource, src/types/sql.ts
interface ClickHouse {
  refId: string;
  datasource: { type: 'grafana-clickhouse-datasource'; uid: string };
  pluginVersion: string;
  editorType: 'sql';
  rawSql: string;
  queryType: 'table' | 'timeseries';
  format: 0 | 1;
}

// grafana/grafana, public/app/plugins/datasource/prometheus
interface Prometheus {
  refId: string;
  datasource: { type: 'prometheus'; uid: string };
  editorMode: 'code';
  expr: string;
  legendFormat: string;
  range: boolean;
  instant: boolean;
}

type Of<Type, Options, Custom> = Omit<Plain<Panel>, 'type' | 'options' | 'fieldConfig' | 'targets'> & {
  type: Type;
  title: string;
  description: string;
  targets: ClickHouse[] | Prometheus[];
  options: Options extends never ? never : Plain<Options>;
  fieldConfig: {
    defaults: Plain<Omit<FieldConfig, 'custom'>> & { custom?: Plain<Custom> };
    overrides: Plain<FieldConfigSource['overrides']>;
  };
};

type OurPanel =
  | Plain<RowPanel>
  | Of<'table', table.Options, Partial<table.FieldConfig>>
  | Of<'stat', stat.Options, never>
  | Of<'bargauge', bargauge.Options, never>
  | Of<'xychart', xychart.Options, xychart.FieldConfig>
  | Of<'timeseries', Omit<timeseries.Options, 'timezone'>, timeseries.FieldConfig>;

export type OurDashboard = Omit<Plain<Dashboard>, 'panels' | 'templating'> & {
  uid: string;
  panels: OurPanel[];
  templating: { list: Plain<Omit<VariableModel, 'current'>>[] | (Plain<Omit<VariableModel, 'current'>> & { current?: object })[] };
};
