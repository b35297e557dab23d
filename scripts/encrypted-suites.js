'use strict'

// Runs the suites once more with every database encrypted. Arguments name Node tests; without any, all of them and
// the Rust ones run.
const path = require('node:path')
const { spawnSync } = require('node:child_process')

const root = path.join(__dirname, '..')
const preload = path.join(root, '__test__', 'encrypted.js')
const env = {
  ...process.env,
  MULTI_HYPERBEE_TEST_ENCRYPTED: '1',
  NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --require ${JSON.stringify(preload)}`
}

/** What knows of databases; the layers below have tests of sealing of their own. */
const RUST = ['--lib', '--test', 'db*', '--test', 'simulator']

function run(command, args) {
  const { status } = spawnSync(command, args, { cwd: root, env, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

const tests = process.argv.slice(2)
if (tests.length === 0) run('cargo', ['test', '--no-default-features', '--locked', ...RUST])
run(process.execPath, ['--test', ...tests])
