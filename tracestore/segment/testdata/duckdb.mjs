// Prints every row of a Parquet file as DuckDB reads it, a JSON array a line, the
// names of the columns first: numbers as decimal text, bytes as hex, lists and
// maps as arrays of their entries' values.
import { DuckDBInstance } from '@duckdb/node-api'

const plain = value => {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  if (typeof value === 'bigint' || typeof value === 'number') return String(value)
  if (value.bytes !== undefined) return Buffer.from(value.bytes).toString('hex')
  if (Array.isArray(value.items)) return value.items.map(plain)
  if (Array.isArray(value.entries)) return value.entries.map(e => [plain(e.key), plain(e.value)])
  if (value.entries !== undefined) return Object.values(value.entries).map(plain)
  throw new Error(`a value of an unknown kind: ${value}`)
}

const db = await DuckDBInstance.create(':memory:')
const connection = await db.connect()
const table = await connection.runAndReadAll(`SELECT * FROM read_parquet('${process.argv[2].replaceAll("'", "''")}')`)
console.log(JSON.stringify(table.columnNames()))
for (const row of table.getRows()) console.log(JSON.stringify(row.map(plain)))
