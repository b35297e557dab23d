'use strict'

// Leaves a working addon behind. In a checkout that is one built from the sources as they are now: the one lying here if
// it is current, else a fresh build (through @napi-rs/cli, which also writes the loader, or through plain cargo). As a
// dependency, a prebuilt platform package is preferred, and cargo is the last resort.

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const addon = require('./addon.js')

/** Whether the addon loads, asked of another process: one that is loaded here could not be replaced on Windows. */
function loads() {
  const script = `require(${JSON.stringify(path.join(addon.root, 'native.js'))})`
  return spawnSync(process.execPath, ['-e', script], { stdio: 'ignore' }).status === 0
}

function run(command, args, options) {
  const result = spawnSync(command, args, { cwd: addon.root, stdio: 'inherit', ...options })
  return result.error === undefined && result.status === 0
}

function hasCargo() {
  return spawnSync('cargo', ['--version'], { cwd: addon.root, stdio: 'ignore' }).status === 0
}

function hasNapi() {
  return fs.existsSync(path.join(addon.root, 'node_modules', '@napi-rs', 'cli', 'package.json'))
}

function buildWithNapi() {
  // One string and a shell: npm is a .cmd file on Windows.
  return run('npm run build', [], { shell: true })
}

/** For whoever has the sources and cargo but not @napi-rs/cli; `native.js` is part of the package. */
function buildWithCargo() {
  const target = fs.mkdtempSync(path.join(os.tmpdir(), 'multi-hyperbee-build-'))
  try {
    const args = ['build', '--release', '--locked', '--lib', '--target-dir', target]
    if (!run('cargo', args)) return false
    // Copied beside and renamed over: a process that runs from the old file keeps it.
    const fresh = `${addon.addonFile}.new`
    fs.copyFileSync(path.join(target, 'release', addon.libraryName()), fresh)
    fs.renameSync(fresh, addon.addonFile)
    addon.record()
    return true
  } finally {
    // Hundreds of megabytes nobody needs again.
    fs.rmSync(target, { recursive: true, force: true })
  }
}

function fail(lines) {
  console.error(lines.map((line) => `multi-hyperbee: ${line}`).join('\n'))
  process.exit(1)
}

const where = `${process.platform} ${process.arch}, Node ${process.version}`

function main() {
  if ((addon.isDependency || addon.isCurrent()) && loads()) return
  if (!hasCargo()) {
    fail([
      `no compiled addon for ${where} is here, and cargo, which would build it, was not found.`,
      'Install Rust 1.95 or newer (https://rustup.rs), then run `npm rebuild multi-hyperbee`',
      '(in a checkout: `npm run build`).'
    ])
  }
  addon.forget()
  if (!(hasNapi() ? buildWithNapi() : buildWithCargo())) {
    fail([`building the addon for ${where} failed; what cargo said is above.`])
  }
  if (!loads()) {
    fail([
      `the addon was built but does not load on ${where}: run \`node -e "require('./native.js')"\` to see why.`
    ])
  }
}

main()
