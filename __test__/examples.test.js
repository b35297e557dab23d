'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const path = require('node:path')
const { once } = require('node:events')
const { spawn } = require('node:child_process')
const createTestnet = require('hyperdht/testnet')
const { directory } = require('./helpers.js')

/** An example as a process of its own; `line(pattern)` resolves with the match once a line matches. */
function run(t, name, ...args) {
  const child = spawn(process.execPath, [path.join(__dirname, '..', 'examples', name), ...args])
  t.after(() => child.kill('SIGKILL'))
  let output = ''
  const looking = new Set()
  const look = (text) => {
    output += text
    for (const one of [...looking]) one()
  }
  child.stdout.setEncoding('utf8').on('data', look)
  child.stderr.setEncoding('utf8').on('data', look)
  const exited = once(child, 'close').then(([code]) => code)
  const line = (pattern) =>
    new Promise((resolve, reject) => {
      const one = () => {
        const match = pattern.exec(output)
        if (match === null) return
        looking.delete(one)
        resolve(match)
      }
      looking.add(one)
      one()
      exited.then(() => reject(new Error(`ended without ${pattern}:\n${output}`)))
    })
  return { child, exited, line, output: () => output, type: (text) => child.stdin.write(`${text}\n`) }
}

test('the demo: three devices, one state', { timeout: 120_000 }, async (t) => {
  const demo = run(t, 'demo.js')
  assert.equal(await demo.exited, 0, demo.output())
  assert.match(demo.output(), /\nThree devices, one state\.\n$/)
})

test('the chat: two terminals, lines go both ways', { timeout: 120_000 }, async (t) => {
  const testnet = await createTestnet(3, { host: '127.0.0.1' })
  t.after(() => testnet.destroy())
  const bootstrap = testnet.bootstrap.flatMap(({ host, port }) => ['--bootstrap', `${host}:${port}`])
  bootstrap.push('--host', '127.0.0.1')
  const folder = directory(t)
  const alice = run(t, 'chat.js', '-s', path.join(folder, 'alice'), ...bootstrap)
  const [, key] = await alice.line(/-k ([0-9a-f]{64})\n/)
  alice.type('written before bob was there')
  const bob = run(t, 'chat.js', '-s', path.join(folder, 'bob'), '-k', key, ...bootstrap)
  await alice.line(/^bob is here\.$/m)
  await bob.line(/^You are in/m)
  await bob.line(/^alice: written before bob was there$/m)
  bob.type('hello alice')
  await alice.line(/^bob: hello alice$/m)
  alice.type('hello bob')
  await bob.line(/^alice: hello bob$/m)
  for (const chat of [alice, bob]) {
    chat.child.stdin.end()
    assert.equal(await chat.exited, 0, chat.output())
  }
})
