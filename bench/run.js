'use strict'

// What the package costs beside lmdb-js doing the bare minimum of the same: `npm run bench`. Read the ratios of one run;
// the milliseconds belong to the machine and its hour.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { spawnSync } = require('node:child_process')
const { entries, KEYS } = require('./data.js')
const apply = require('./apply.js')
const cases = require('./cases.js')
const encrypted = require('./encrypted.js')
const network = require('./network.js')

async function main() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'multi-hyperbee-bench-'))
  console.log(
    `Node ${process.version}, ${os.cpus().length} cores, ${KEYS.toLocaleString('en')} entries of about 100 bytes\n`
  )
  try {
    const results = await cases.run(dir, entries())
    for (const result of results) print(result, 'lmdb-js')
    console.log('\nEncrypted, beside the same without encryption:\n')
    for (const result of await encrypted.run(dir, entries())) print(result, 'plain')
    console.log('\nApply mode, beside autobase, which does not sync:\n')
    for (const result of await apply.run(dir)) print(result, 'autobase')
    console.log('\nReplication, beside a Noise stream alone, or the same in one database:\n')
    for (const result of await network.run(dir)) print(result, 'theirs')
  } finally {
    fs.rmSync(dir, { recursive: true, force: true })
  }
  console.log('\nThe core without Node, beside bare LMDB writing the same rows:\n')
  const core = spawnSync('cargo', ['bench', '--no-default-features', '--locked', '--bench', 'core'], {
    cwd: path.join(__dirname, '..'),
    stdio: ['ignore', 'inherit', 'inherit']
  })
  if (core.status !== 0) process.exitCode = 1
}

function print({ what, ours, theirs, note = '' }, other) {
  const rate = (run) => `${Math.round(run.count / (run.ms / 1000)).toLocaleString('en')}/s`
  const ratio = theirs ? `${(ours.count / ours.ms / (theirs.count / theirs.ms)).toFixed(2)} of ${other}` : ''
  const columns = [what.padEnd(46), rate(ours).padStart(14), (theirs ? rate(theirs) : '').padStart(14)]
  console.log(`${columns.join(' ')}  ${ratio.padEnd(18)} ${note}`)
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
