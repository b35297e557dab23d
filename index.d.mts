// What `import 'multi-hyperbee'` gives.

import { MultiHyperbee } from './index.js'

export * from './index.js'
export default MultiHyperbee
