'use strict'

// The simulator over very many seeds: `npm run soak -- --seeds 20000`, for a night or a week. Each seed is a history of
// its own: replicas, writers, partitions, any order of delivery, crashes, full disks, forged bytes, in merge mode and in
// apply mode. `--first` says with which seed to begin, so a run that was stopped goes on where its last line says;
// `--report` where the report goes; `--debug` takes the build of `cargo test` instead of an optimised one.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { spawn, spawnSync } = require('node:child_process')
const { parseArgs } = require('node:util')

const COUNT = 1_000_000
/** Seeds of one process: what is done again at most after a stop. */
const AT_ONCE = 500
/** So many seeds must have brought everything about, and be as large as they are meant to be. */
const ENOUGH = 500
const MEDIAN_STEPS = 200
const MEDIAN_DEVICES = 3
const BAR = 30

const root = path.join(__dirname, '..')

/** The path of the test's program. */
function build(debug) {
  const profile = debug ? [] : ['--release']
  const options = [
    '--no-default-features',
    '--locked',
    '--test',
    'simulator',
    '--no-run',
    '--message-format=json'
  ]
  const { status, stdout } = spawnSync('cargo', ['test', ...profile, ...options], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'inherit']
  })
  if (status !== 0) throw new Error('the simulator does not build')
  const messages = stdout.split('\n').filter((line) => line.startsWith('{'))
  const built = messages.map((line) => JSON.parse(line)).filter(({ executable }) => executable != null)
  return built.at(-1).executable
}

/** Runs seeds `first .. first + count`; resolves to what was said if one failed. */
function run(program, first, count, report) {
  const env = {
    ...process.env,
    MULTI_HYPERBEE_FIRST_SEED: String(first),
    MULTI_HYPERBEE_SEEDS: String(count),
    MULTI_HYPERBEE_REPORT: report
  }
  delete env.MULTI_HYPERBEE_SEED
  return new Promise((resolve, reject) => {
    const child = spawn(program, ['every_seed', '--quiet'], {
      cwd: root,
      env,
      stdio: ['ignore', 'pipe', 'inherit']
    })
    let said = ''
    child.stdout.on('data', (bytes) => (said += bytes))
    child.on('error', reject)
    child.on('close', (code) => resolve(code === 0 ? null : said))
  })
}

function add(to, from) {
  for (const [name, count] of Object.entries(from)) to[name] = (to[name] ?? 0) + count
}

function median(counts) {
  const all = Object.entries(counts).map(([value, count]) => [Number(value), count])
  all.sort(([a], [b]) => a - b)
  let left = Math.floor(all.reduce((sum, [, count]) => sum + count, 0) / 2)
  for (const [value, count] of all) {
    if (left < count) return value
    left -= count
  }
  return 0
}

function whole(text, name) {
  const number = Number(text)
  if (Number.isSafeInteger(number) && number >= 0) return number
  throw new Error(`--${name} is a whole number`)
}

function show(line) {
  if (process.stdout.isTTY) process.stdout.write(`\r${line}\x1b[K`)
  else console.log(line)
}

/** What is wrong with a run in which no seed failed. */
function flaws({ seeds, never, medianSteps, medianDevices }) {
  if (seeds < ENOUGH) return []
  const found = never.map((name) => `never happened: ${name}`)
  if (medianSteps < MEDIAN_STEPS) found.push(`the median is ${medianSteps} steps, not ${MEDIAN_STEPS}`)
  if (medianDevices < MEDIAN_DEVICES)
    found.push(`the median is ${medianDevices} devices, not ${MEDIAN_DEVICES}`)
  return found
}

async function main() {
  const options = {
    first: { type: 'string', default: '0' },
    seeds: { type: 'string', default: String(COUNT) },
    report: { type: 'string', default: path.join(root, 'target', 'soak.json') },
    debug: { type: 'boolean', default: false }
  }
  const { values } = parseArgs({ options })
  const first = whole(values.first, 'first')
  const end = first + whole(values.seeds, 'seeds')
  const program = build(values.debug)
  const part = path.join(os.tmpdir(), `multi-hyperbee-soak-${process.pid}.json`)
  const sum = { steps: {}, devices: {}, counts: {} }
  const start = performance.now()
  let failure = null
  let at = first
  while (at < end && failure === null) {
    const count = Math.min(AT_ONCE, end - at)
    failure = await run(program, at, count, part)
    if (failure !== null) break
    const found = JSON.parse(fs.readFileSync(part, 'utf8'))
    for (const name of Object.keys(sum)) add(sum[name], found[name])
    at += count
    const done = (at - first) / (end - first)
    const rate = (at - first) / ((performance.now() - start) / 1000)
    const minutes = Math.ceil((end - at) / rate / 60)
    const bar = '#'.repeat(Math.floor(done * BAR)).padEnd(BAR, '.')
    show(
      `[${bar}] ${at - first} of ${end - first} seeds, ${rate.toFixed(1)} a second, ${minutes} min to go; later: --first ${at} --seeds ${end - at}`
    )
  }
  fs.rmSync(part, { force: true })
  const seconds = (performance.now() - start) / 1000
  const report = {
    first,
    seeds: at - first,
    seconds: Math.round(seconds),
    seedsPerSecond: Number(((at - first) / seconds).toFixed(1)),
    medianSteps: median(sum.steps),
    medianDevices: median(sum.devices),
    never: Object.keys(sum.counts).filter((name) => sum.counts[name] === 0),
    counts: sum.counts,
    failure
  }
  fs.mkdirSync(path.dirname(values.report), { recursive: true })
  fs.writeFileSync(values.report, `${JSON.stringify(report, null, 2)}\n`)
  console.log(`\n${report.seeds} seeds in ${report.seconds} s; report: ${values.report}`)
  if (failure !== null) console.log(`${failure}\na seed from ${at} on failed`)
  const found = failure === null ? flaws(report) : []
  for (const flaw of found) console.log(flaw)
  if (failure !== null || found.length > 0) process.exitCode = 1
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
