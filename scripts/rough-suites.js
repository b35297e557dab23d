'use strict'

// Runs the suites that connect databases once more over each rough wire of __test__/rough.js. `--seed N` draws
// everything from N; `--seeds N` goes on with the following ones, N in all.
const path = require('node:path')
const { parseArgs } = require('node:util')
const { spawnSync } = require('node:child_process')

const root = path.join(__dirname, '..')

const SUITES = [
  'access',
  'apply',
  'conflicts',
  'diffs',
  'encryption',
  'relay',
  'replication',
  'restored'
].concat(['sparse', 'stats', 'status', 'watch'])
/** These name the stream that something came over, and after a cut it is another one. */
const NOT_CUT = ['status']

const { values } = parseArgs({
  options: { seed: { type: 'string', default: '1' }, seeds: { type: 'string', default: '1' } }
})
const first = Number(values.seed)
for (let seed = first; seed < first + Number(values.seeds); seed++) {
  for (const wire of ['split', 'delay', 'cut']) {
    const suites = SUITES.filter((name) => wire !== 'cut' || !NOT_CUT.includes(name))
    const tests = suites.map((name) => path.join('__test__', `${name}.test.js`))
    console.log(`# MULTI_HYPERBEE_TEST_WIRE=${wire} MULTI_HYPERBEE_TEST_SEED=${seed}`)
    const env = { ...process.env, MULTI_HYPERBEE_TEST_WIRE: wire, MULTI_HYPERBEE_TEST_SEED: String(seed) }
    const { status } = spawnSync(process.execPath, ['--test', ...tests], { cwd: root, env, stdio: 'inherit' })
    if (status !== 0) process.exit(status ?? 1)
  }
}
