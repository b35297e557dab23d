'use strict'

// Licences, bans and sources of the Rust dependencies, and that the lock file of `fuzz/`, which nothing else here builds, is
// as its manifests say. Without cargo-deny licences, bans and sources are not checked, and this says so; CI installs it
// (`.ci/run`).

const { spawnSync } = require('node:child_process')
const path = require('node:path')

const cwd = path.join(__dirname, '..')

const fuzz = ['metadata', '--locked', '--format-version', '1', '--manifest-path', 'fuzz/Cargo.toml']
if (spawnSync('cargo', fuzz, { cwd, stdio: ['ignore', 'ignore', 'inherit'] }).status !== 0) process.exit(1)

if (spawnSync('cargo', ['deny', '--version'], { cwd, stdio: 'ignore' }).status !== 0) {
  console.warn('Not checked: licences, bans and sources of the Rust dependencies, for want of cargo-deny.')
  console.warn('Install it with `cargo install --locked cargo-deny`.')
  process.exit(0)
}

const args = ['deny', '--locked', 'check', 'bans', 'licenses', 'sources']
process.exit(spawnSync('cargo', args, { cwd, stdio: 'inherit' }).status ?? 1)
