'use strict'

// The simulator over very many seeds, in an optimised build: `npm run soak`, for a night. Each seed is a history of its
// own: two to five replicas, edits, deletes, batches, grants, partitions, any order of delivery, crashes, restores.
// `--first` says with which seed to begin, so a run that was stopped goes on where its last line says; `--count` how many.

const path = require('node:path')
const { spawn, spawnSync } = require('node:child_process')
const { parseArgs } = require('node:util')

const COUNT = 1_000_000
/** Seeds of one process: what is done again at most after a stop. */
const AT_ONCE = 1_000

const root = path.join(__dirname, '..')
const cargo = [
  'test',
  '--release',
  '--no-default-features',
  '--locked',
  '--test',
  'simulator',
  '--no-run',
  '--message-format=json'
]

/** The path of the test's program. */
function build() {
  const { status, stdout } = spawnSync('cargo', cargo, {
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

/** Runs seeds `first .. first + count`; resolves to the exit code. */
function run(program, first, count) {
  const env = {
    ...process.env,
    MULTI_HYPERBEE_FIRST_SEED: String(first),
    MULTI_HYPERBEE_SEEDS: String(count)
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
    child.on('close', (code) => {
      if (code !== 0) process.stdout.write(said)
      resolve(code)
    })
  })
}

function whole(text, name) {
  const number = Number(text)
  if (Number.isSafeInteger(number) && number >= 0) return number
  throw new Error(`--${name} is a whole number`)
}

async function main() {
  const { values } = parseArgs({ options: { first: { type: 'string' }, count: { type: 'string' } } })
  const first = whole(values.first ?? 0, 'first')
  const end = first + whole(values.count ?? COUNT, 'count')
  const program = build()
  const start = performance.now()
  for (let at = first; at < end;) {
    const count = Math.min(AT_ONCE, end - at)
    const code = await run(program, at, count)
    if (code !== 0) {
      console.log(`a seed from ${at} to ${at + count - 1} failed: above is which, and how to run it again`)
      process.exitCode = 1
      return
    }
    at += count
    const rate = (at - first) / ((performance.now() - start) / 1000)
    const minutes = Math.ceil((end - at) / rate / 60)
    console.log(
      `${at - first} of ${end - first} seeds, none failed, ${rate.toFixed(1)} a second, ${minutes} minutes to go; to go on later: --first ${at} --count ${end - at}`
    )
  }
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
