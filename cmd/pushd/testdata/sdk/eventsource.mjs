// EventSource of npm as a page has it: it says what comes, and does nothing to
// come back. Lines in: open NAME, close NAME. Lines out: NAME open, NAME message
// TEXT, NAME position, NAME error STATE, where state 2 is the end for ever.
import readline from 'node:readline'
import { EventSource } from 'eventsource'

const all = {}
const say = (...words) => console.log(words.join(' '))
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const [word, name] = line.split(' ')
  if (word === 'close') return all[name].close()
  const es = all[name] = new EventSource(process.argv[2])
  es.onopen = () => say(name, 'open')
  es.onmessage = (e) => say(name, 'message', e.data)
  es.addEventListener('pushd:position', () => say(name, 'position'))
  es.onerror = () => say(name, 'error', es.readyState)
}).on('close', () => process.exit(0))
