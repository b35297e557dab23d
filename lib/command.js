'use strict'

// What = the command `multi-hyperbee`. Results go to stdout (with --json one object), progress and errors to stderr.
// Exit codes: 0 done, and all is well; 1 done, and something is not; 2 could not be done.
const fs = require('node:fs')
const { parseArgs } = require('node:util')
const { MultiHyperbeeError } = require('./errors.js')
const { Store } = require('./store.js')

const BAR = 30
const OPTIONS = {
  json: { type: 'boolean', default: false },
  repair: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false }
}

const COMMANDS = {
  verify: {
    takes: ['directory'],
    says: 'checks pages, feeds, rows and views of a store, and names what is damaged; --repair mends it',
    run: verify
  },
  backup: {
    takes: ['directory', 'target'],
    says: 'copies a store into a directory that holds none yet',
    run: backup
  },
  compact: {
    takes: ['directory'],
    says: 'writes the file of a store anew, without the pages that nothing uses',
    run: compact
  }
}

/** Runs one command; resolves to the exit code. */
async function main(args) {
  try {
    const { values, positionals } = parseArgs({ args, options: OPTIONS, allowPositionals: true })
    const [name, ...rest] = positionals
    if (values.help || name === undefined) {
      process.stdout.write(usage())
      return values.help ? 0 : 2
    }
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : null
    if (command === null)
      throw new MultiHyperbeeError('ERR_OPTIONS', `there is no command ${name}; see --help`)
    if (rest.length !== command.takes.length) {
      throw new MultiHyperbeeError('ERR_OPTIONS', `usage: multi-hyperbee ${synopsis(name, command)}`)
    }
    if (values.repair && name !== 'verify') {
      throw new MultiHyperbeeError('ERR_OPTIONS', '--repair is an option of verify')
    }
    return await command.run(rest, values)
  } catch (error) {
    process.stderr.write(`${error.code ?? error.name}: ${error.message}\n`)
    return 2
  }
}

/** A store that is there: a mistyped path makes none. */
function existing(directory, options) {
  if (!fs.existsSync(directory)) {
    throw new MultiHyperbeeError('ERR_STORE_OPEN', `there is nothing at ${directory}`)
  }
  return new Store(directory, options)
}

async function verify([directory], { json, repair }) {
  const store = existing(directory, { readOnly: !repair })
  const bar = progressBar()
  try {
    const report = await store.verify({ repair, onProgress: bar.show })
    bar.end()
    if (json) print(report)
    else process.stdout.write(readable(report))
    return report.ok ? 0 : 1
  } finally {
    bar.end()
    await store.close()
  }
}

async function backup([directory, target], { json }) {
  const store = existing(directory)
  try {
    await store.backup(target)
    if (json) print({ backup: target })
    else process.stdout.write(`copied to ${target}\n`)
    return 0
  } finally {
    await store.close()
  }
}

async function compact([directory], { json }) {
  const store = existing(directory)
  const bar = progressBar()
  try {
    const { before, after } = await store.compact({ onProgress: bar.show })
    bar.end()
    if (json) print({ before, after })
    else process.stdout.write(`from ${before} to ${after} bytes\n`)
    return 0
  } finally {
    bar.end()
    await store.close()
  }
}

function readable({ ok, damages, more, stoppedAt, sealed, pages, feeds, blocks, databases, keys, ...rest }) {
  const lines = damages.map((damage) => `damaged: ${described(damage)}\n`)
  const { repaired = [], waiting = [], remaining = [] } = rest
  lines.push(...repaired.map((what) => `mended: ${what}\n`))
  lines.push(...waiting.map((damage) => `waits for a peer: ${described(damage)}\n`))
  lines.push(...remaining.map((damage) => `not mended: ${described(damage)}\n`))
  if (more > 0) lines.push(`and ${more} more\n`)
  if (stoppedAt) lines.push('pages are damaged: what stands on them was not looked at; restore a backup\n')
  if (sealed > 0) lines.push(`${sealed} of the databases are encrypted: what is sealed was not opened\n`)
  const counts = `${pages} pages, ${feeds} feeds, ${blocks} blocks, ${databases} databases, ${keys} keys`
  const is = ok ? (damages.length === 0 ? 'sound' : 'mended') : `${damages.length + more} damaged`
  return `${lines.join('')}${is}: ${counts}\n`
}

function described({ why, ...where }) {
  const parts = Object.entries(where).filter(([, value]) => value != null)
  return `${why} (${parts.map(([name, value]) => `${name} ${text(value)}`).join(', ')})`
}

const text = (value) => (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value))

/** Keys and hashes as hexadecimal text: a Buffer's own JSON is a list of numbers. */
function print(result) {
  const hex = (_, value) => (value?.type === 'Buffer' ? Buffer.from(value.data).toString('hex') : value)
  process.stdout.write(`${JSON.stringify(result, hex)}\n`)
}

/** On a terminal alone: a log has no use for it. */
function progressBar() {
  let isShown = false
  const line = (words) => process.stderr.write(`\r${words}\x1b[K`)
  return {
    show({ stage, done, total }) {
      if (!process.stderr.isTTY) return
      isShown = true
      const share = total === 0 ? 0 : Math.min(1, done / total)
      line(`[${'#'.repeat(Math.floor(share * BAR)).padEnd(BAR, '.')}] ${stage}: ${done} of ${total}`)
    },
    end() {
      if (isShown) line('')
      isShown = false
    }
  }
}

function usage() {
  const lines = Object.entries(COMMANDS).map(
    ([name, command]) => `  ${synopsis(name, command).padEnd(32)}${command.says}\n`
  )
  return `usage: multi-hyperbee COMMAND [--json] [--repair]\n\n${lines.join('')}`
}

const synopsis = (name, { takes }) => [name, ...takes.map((what) => what.toUpperCase())].join(' ')

module.exports = { main }
