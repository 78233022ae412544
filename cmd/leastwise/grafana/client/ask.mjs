// ask.mjs URL < [{"where", "sql"}]: runs each query with ClickHouse's own client, and tells what it was answered.
import { createClient } from '@clickhouse/client';
import { readFileSync } from 'node:fs';

const client = createClient({ url: process.argv[2], database: 'leastwise', username: 'grafana', request_timeout: 60_000 });
const answers = [];
for (const { where, sql } of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    const result = await client.query({ query: sql, format: 'JSON' });
    const { meta, data } = await result.json();
    answers.push({ where, columns: meta.map((column) => column.name), rows: data.length });
  } catch (error) {
    answers.push({ where, error: String(error.message ?? error) });
  }
}
await client.close();
console.log(JSON.stringify(answers));
