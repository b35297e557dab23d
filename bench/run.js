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

async function main() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'multi-hyperbee-bench-'))
  console.log(
    `Node ${process.version}, ${os.cpus().length} cores, ${KEYS.toLocaleString('en')} entries of about 100 bytes\n`
  )
  try {
    const results = await cases.run(dir, entries())
    for (const { what, ours, theirs, note } of results) print(what, ours, theirs, 'lmdb-js', note)
    console.log('\nApply mode, beside bare synced commits of lmdb-js where that is fair:\n')
    for (const { what, ours, theirs, note } of await apply.run(dir)) print(what, ours, theirs, 'lmdb-js', note)
    console.log('\nEncrypted, beside the same without encryption:\n')
    const sealed = await cases.runEncrypted(dir, entries())
    for (const { what, ours, theirs, note } of sealed) print(what, ours, theirs, 'plain', note)
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

function print(what, ours, theirs, beside, note = '') {
  const rate = (run) => `${Math.round(run.count / (run.ms / 1000)).toLocaleString('en')}/s`
  const ratio = theirs ? `${(ours.count / ours.ms / (theirs.count / theirs.ms)).toFixed(2)} of ${beside}` : ''
  const columns = [what.padEnd(46), rate(ours).padStart(14), (theirs ? rate(theirs) : '').padStart(14)]
  console.log(`${columns.join(' ')}  ${ratio.padEnd(16)} ${note}`)
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
