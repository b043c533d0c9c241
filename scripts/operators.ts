import { readFileSync, writeFileSync } from 'node:fs';
import { withOperatorTable } from './operator-table.js';

const PAGE = 'docs/operators.md';

writeFileSync(PAGE, withOperatorTable(readFileSync(PAGE, 'utf8')));
