'use strict'

// Licences, bans and sources of the Rust dependencies. Without cargo-deny nothing is checked, and this says so; CI
// installs it (`.ci/run`).

const { spawnSync } = require('node:child_process')
const path = require('node:path')

const cwd = path.join(__dirname, '..')

if (spawnSync('cargo', ['deny', '--version'], { cwd, stdio: 'ignore' }).status !== 0) {
  console.warn('Not checked: licences, bans and sources of the Rust dependencies, for want of cargo-deny.')
  console.warn('Install it with `cargo install --locked cargo-deny`.')
  process.exit(0)
}

const args = ['deny', '--locked', 'check', 'bans', 'licenses', 'sources']
process.exit(spawnSync('cargo', args, { cwd, stdio: 'inherit' }).status ?? 1)
