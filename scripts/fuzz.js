'use strict'

// The targets of `fuzz/` under libFuzzer, in turns: `npm run fuzz -- --minutes 10`, or `--target fold` alone. It needs a
// C++ compiler and Rust's stable toolchain, no nightly: coverage is what LLVM counts, without a sanitizer. What is new
// stays in `fuzz/target/corpus`; `--keep` adds what reaches new code to `fuzz/corpus`, which `cargo test` replays. An
// input that fails is written to `fuzz/target/found`, and the run ends with the command that replays it.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { spawnSync } = require('node:child_process')
const { parseArgs } = require('node:util')

const MINUTES = 10
/** One input that takes longer, or all of it that take more memory, fail. */
const SECONDS_EACH = 20
const MEGABYTES = 1024
/** Longer inputs, and more of one target, are not kept: a clone stays small and `cargo test` quick. */
const KEPT_BYTES = 1024
const KEPT_FILES = 60

const root = path.join(__dirname, '..', 'fuzz')

/** What `cargo fuzz run --sanitizer none` passes. */
const FLAGS = [
  '-Cpasses=sancov-module',
  '-Cllvm-args=-sanitizer-coverage-level=4',
  '-Cllvm-args=-sanitizer-coverage-inline-8bit-counters',
  '-Cllvm-args=-sanitizer-coverage-pc-table',
  '-Cllvm-args=-sanitizer-coverage-trace-compares',
  '--cfg=fuzzing'
]

function build() {
  const host = /^host: (.*)$/m.exec(spawnSync('rustc', ['-vV'], { encoding: 'utf8' }).stdout)?.[1]
  if (host == null) throw new Error('rustc is missing: install Rust, see CONTRIBUTING.md')
  // Named, so that build scripts, which run without libFuzzer, are built without the flags.
  const args = ['build', '--release', '--locked', '--target', host]
  const env = { ...process.env, RUSTFLAGS: FLAGS.join(' ') }
  const { status } = spawnSync('cargo', args, { cwd: root, env, stdio: 'inherit' })
  if (status !== 0) throw new Error('the targets do not build')
  return path.join(root, 'target', host, 'release', 'fuzz')
}

function folder(...names) {
  const name = path.join(root, ...names)
  fs.mkdirSync(name, { recursive: true })
  return name
}

/** Runs libFuzzer; what it said, and whether it found nothing. */
function libfuzzer(program, target, args) {
  // Stores in memory and files that are walked: on a real disk they would wear it out.
  const shared = fs.existsSync('/dev/shm') ? { TMPDIR: '/dev/shm' } : {}
  const env = { ...process.env, ...shared, MULTI_HYPERBEE_FUZZ: target }
  const options = { cwd: root, env, encoding: 'utf8', maxBuffer: 1 << 28 }
  const { status, error, stderr } = spawnSync(program, args, options)
  if (error != null) throw error
  return { ok: status === 0, said: stderr }
}

function number(said, name) {
  return Number(said.match(new RegExp(`${name}:\\s*(\\d+)`))?.[1] ?? 0)
}

function fuzz(program, target, seconds) {
  const found = folder('target', 'found')
  const args = [
    folder('target', 'corpus', target),
    folder('corpus', target),
    `-max_total_time=${seconds}`,
    `-timeout=${SECONDS_EACH}`,
    `-rss_limit_mb=${MEGABYTES}`,
    `-artifact_prefix=${path.join(found, target)}-`,
    '-max_len=16384',
    '-print_final_stats=1'
  ]
  const { ok, said } = libfuzzer(program, target, args)
  const covered = [...said.matchAll(/cov: (\d+)/g)].at(-1)?.[1] ?? '0'
  const executed = number(said, 'stat::number_of_executed_units')
  return { ok, said, executed, covered }
}

/** Adds to what is kept the inputs that reach code which nothing kept reaches, the shortest first. */
function keep(program, target) {
  const [kept, fresh] = [folder('corpus', target), folder('target', 'corpus', target)]
  const merged = folder('target', 'merged', target)
  fs.rmSync(merged, { recursive: true })
  fs.cpSync(kept, merged, { recursive: true })
  libfuzzer(program, target, ['-merge=1', '-set_cover_merge=1', `-max_len=${KEPT_BYTES}`, merged, fresh])
  const known = new Set(fs.readdirSync(kept))
  const files = fs.readdirSync(merged).filter((name) => !known.has(name))
  for (const name of files.slice(0, Math.max(0, KEPT_FILES - known.size))) {
    fs.copyFileSync(path.join(merged, name), path.join(kept, name))
  }
}

function main() {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: String(MINUTES) },
      target: { type: 'string' },
      keep: { type: 'boolean', default: false }
    }
  })
  const all = fs.readdirSync(path.join(root, 'corpus')).sort()
  const targets = values.target == null ? all : [values.target]
  const minutes = Number(values.minutes)
  if (!(minutes > 0)) throw new Error('--minutes must be a number above 0')
  if (!targets.every((target) => all.includes(target)))
    throw new Error(`--target is one of ${all.join(', ')}`)
  const program = build()
  const seconds = Math.max(1, Math.round((minutes * 60) / targets.length))
  console.log(`${targets.length} targets, ${seconds} s each, on ${os.cpus().length} processors (one is used)`)
  for (const target of targets) {
    const { ok, said, executed, covered } = fuzz(program, target, seconds)
    console.log(`${target.padEnd(10)} ${String(executed).padStart(10)} inputs, ${covered} edges covered`)
    if (!ok) {
      console.error(said.split('\n').slice(-60).join('\n'))
      const input = /Test unit written to (.*)/.exec(said)?.[1] ?? 'INPUT'
      throw new Error(`${target} fails. Again: MULTI_HYPERBEE_FUZZ=${target} ${program} ${input}`)
    }
    if (values.keep) keep(program, target)
  }
}

try {
  main()
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}
