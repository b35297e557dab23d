'use strict'

// Kills writing processes as often as asked: `npm run soak:kill -- --rounds 1000`. The test says how far it is, and with
// which number its moments can be drawn again.

const path = require('node:path')
const { spawnSync } = require('node:child_process')
const { parseArgs } = require('node:util')

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '1000' } } })
if (!/^[1-9]\d*$/.test(values.rounds)) {
  console.error('--rounds takes a number of kills')
  process.exit(2)
}
const name = 'killed_at_random_moments_nothing_acknowledged_is_lost_and_no_peer_sees_a_fork'
const args = [
  'test',
  '--release',
  '--no-default-features',
  '--locked',
  '--test',
  'crash',
  name,
  '--',
  '--nocapture'
]
const { status, error } = spawnSync('cargo', args, {
  cwd: path.join(__dirname, '..'),
  env: { ...process.env, MULTI_HYPERBEE_KILLS: values.rounds },
  stdio: 'inherit'
})
if (error) throw error
process.exit(status ?? 1)
