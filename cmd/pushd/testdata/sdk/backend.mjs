// The back end alone, for clients in a browser; it ends with its input.
import { readFile } from 'node:fs/promises'
import { app, at, backEnd, way } from './stage.mjs'

const page = (await readFile(new URL('page.html', import.meta.url), 'utf8'))
  .replace('{{key}}', app.key).replace('{{way}}', JSON.stringify(way)).replaceAll('{{port}}', at.port)
const site = await backEnd(page)
console.log(site.url)
process.stdin.resume().on('end', () => process.exit())
