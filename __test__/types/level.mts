// What compiles, and what must not, for multi-hyperbee/level. Nothing here runs.

import MultiHyperbee, { Store } from 'multi-hyperbee'
import { MultiHyperbeeLevel } from 'multi-hyperbee/level'

const level = new MultiHyperbeeLevel<string, { n: number }>('x', { valueEncoding: 'json', name: 'n' })
const value: { n: number } | undefined = level.getSync('k')
const db: MultiHyperbee | null = level.db

void new MultiHyperbeeLevel(new Store(':memory:'))
void new MultiHyperbeeLevel(new MultiHyperbee(':memory:'), { keyEncoding: 'buffer' })

// @ts-expect-error a location is needed
void new MultiHyperbeeLevel()
// @ts-expect-error a value is { n }
void level.put('k', 3)

void [value, db]
