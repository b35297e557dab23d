'use strict'

// Runs the suites that connect databases once more over each rough wire of __test__/rough.js. `--seed N` draws
// everything from N; `--seeds N` goes on with the following ones, N in all.
const path = require('node:path')
const { parseArgs } = require('node:util')
const { spawn } = require('node:child_process')

const root = path.join(__dirname, '..')

const SUITES = [
  'access api-lines apply apply-readme conflicts diffs diverged encryption handlers level relay replication',
  'restored sparse stats status verify watch'
].flatMap((names) => names.split(' '))
/** These name the stream that something came over, and after a cut it is another one. */
const NOT_CUT = ['diverged', 'status']

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1' },
    wires: { type: 'string', default: 'split,delay,cut' }
  }
})
const first = Number(values.seed)

/** The exit code of the suites over one wire, and what they said. */
function run(wire, seed) {
  const suites = SUITES.filter((name) => wire !== 'cut' || !NOT_CUT.includes(name))
  const tests = suites.map((name) => path.join('__test__', `${name}.test.js`))
  const env = { ...process.env, MULTI_HYPERBEE_TEST_WIRE: wire, MULTI_HYPERBEE_TEST_SEED: String(seed) }
  const child = spawn(process.execPath, ['--test', ...tests], { cwd: root, env })
  let said = `# MULTI_HYPERBEE_TEST_WIRE=${wire} MULTI_HYPERBEE_TEST_SEED=${seed}\n`
  for (const output of [child.stdout, child.stderr]) output.on('data', (bytes) => (said += bytes))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      process.stdout.write(said)
      resolve(code ?? 1)
    })
  })
}

async function main() {
  for (let seed = first; seed < first + Number(values.seeds); seed++) {
    // At once: they mostly wait.
    const codes = await Promise.all(values.wires.split(',').map((wire) => run(wire, seed)))
    if (codes.some((code) => code !== 0)) return 1
  }
  return 0
}

main().then((code) => (process.exitCode = code))
