'use strict'

// Runs suites once more with every database encrypted. Arguments name Node tests; without any, those below run, and the
// Rust ones; with `all`, all that know of databases.
const fs = require('node:fs')
const path = require('node:path')
const { spawnSync } = require('node:child_process')

const root = path.join(__dirname, '..')
const preload = path.join(root, '__test__', 'encrypted.js')
const env = {
  ...process.env,
  MULTI_HYPERBEE_TEST_ENCRYPTED: '1',
  NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --require ${JSON.stringify(preload)}`
}

/**
 * What touches stored data, each table and each way to read. Left out are suites that measure (`cost`, `stalls`,
 * `growth`), kill processes (`crash`), or are about what is not stored: connections, refusals, encodings, types. The
 * simulator encrypts every fourth seed by itself. The layers below `db` have tests of sealing of their own.
 */
const RUST = [
  'again::',
  'apply::',
  'diverged::',
  'fork::',
  'handlers::',
  'members::',
  'past::',
  'reads::',
  'relay::',
  'writes::'
]
const NODE = ['apply', 'batch', 'conflicts', 'diffs', 'handlers', 'hyperbee', 'kv', 'past', 'replication']
  .concat(['restored', 'streams', 'verify', 'watch'])
  .map((name) => path.join('__test__', `${name}.test.js`))

function run(command, args) {
  const { status } = spawnSync(command, args, { cwd: root, env, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

const rust = (tests) => run('cargo', ['test', '--no-default-features', '--locked', ...tests])
const node = (tests) => run(process.execPath, ['--test', '--test-concurrency=2', ...tests])

const [first, ...others] = process.argv.slice(2)
if (first === undefined) {
  rust(['--test', 'db', '--', ...RUST])
  node(NODE)
} else if (first === 'all') {
  rust(['--lib', '--test', 'db', '--test', 'apply_reference', '--test', 'crash', '--test', 'simulator'])
  const tests = fs
    .readdirSync(path.join(root, '__test__'))
    .filter((name) => name.endsWith('.test.js') && name !== 'fixtures.test.js')
  node(tests.map((name) => path.join('__test__', name)))
} else {
  node([first, ...others])
}
