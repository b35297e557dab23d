'use strict'

// Where the compiled addon lies, and which Rust sources it was built from. `node scripts/addon.js record` notes that the
// addon lying there was built from the sources as they are now: the last step of every build.

const crypto = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')

const root = path.join(__dirname, '..')
const binaryName = 'multi-hyperbee'
const recordFile = path.join(root, '.addon-source')

/** Whether this is a dependency of something else, rather than a checkout one works in. */
const isDependency = __dirname.split(path.sep).includes('node_modules')

/** What napi-rs appends to the addon's name on this machine, as its generated loader (`native.js`) looks for it. */
function platformSuffix() {
  const { platform, arch } = process
  if (platform === 'win32') return `win32-${arch}-msvc`
  if (platform !== 'linux') return `${platform}-${arch}`
  const abi = arch === 'arm' ? 'gnueabihf' : 'gnu'
  return `linux-${arch}-${isMusl() ? abi.replace('gnu', 'musl') : abi}`
}

function isMusl() {
  const report = process.report.getReport()
  return !report.header.glibcVersionRuntime
}

const addonFile = path.join(root, `${binaryName}.${platformSuffix()}.node`)

/** The name cargo gives the shared library on this machine. */
function libraryName() {
  const name = binaryName.replaceAll('-', '_')
  if (process.platform === 'win32') return `${name}.dll`
  return process.platform === 'darwin' ? `lib${name}.dylib` : `lib${name}.so`
}

/** A hash of everything the addon is compiled from, names included. */
function sourceFingerprint() {
  const hash = crypto.createHash('sha256')
  for (const file of ['Cargo.toml', 'Cargo.lock', 'build.rs', ...rustFiles('src')]) {
    // Line ends are a matter of the checkout, not of the source.
    const text = fs.readFileSync(path.join(root, file), 'utf8').replaceAll('\r\n', '\n')
    hash.update(`${file.replaceAll(path.sep, '/')}\0${text.length}\0${text}`)
  }
  return hash.digest('hex')
}

function rustFiles(folder) {
  const found = fs.readdirSync(path.join(root, folder), { withFileTypes: true })
  return found
    .flatMap((entry) => {
      const name = path.join(folder, entry.name)
      return entry.isDirectory() ? rustFiles(name) : name.endsWith('.rs') ? [name] : []
    })
    .sort()
}

/** Whether the addon that lies here was built from the sources as they are now. */
function isCurrent() {
  if (!fs.existsSync(addonFile) || !fs.existsSync(recordFile)) return false
  return fs.readFileSync(recordFile, 'utf8').trim() === `${path.basename(addonFile)} ${sourceFingerprint()}`
}

function record() {
  fs.writeFileSync(recordFile, `${path.basename(addonFile)} ${sourceFingerprint()}\n`)
}

/** Forgets what the addon was built from, so that a build cut off in the middle is not taken for a finished one. */
function forget() {
  fs.rmSync(recordFile, { force: true })
}

module.exports = { root, addonFile, isDependency, libraryName, sourceFingerprint, isCurrent, record, forget }

if (require.main === module) {
  if (process.argv[2] !== 'record') {
    console.error('usage: node scripts/addon.js record')
    process.exit(2)
  }
  record()
}
