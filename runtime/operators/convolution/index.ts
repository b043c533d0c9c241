import type { Composite } from '../composite.js';
import type { Operator } from '../operator.js';
import { CONV } from './conv.js';
import { POOLS } from './pool.js';
import { UNFOLD } from './unfold.js';

export const WINDOW_OPERATORS: readonly Operator[] = [UNFOLD];
export const CONVOLUTIONS: readonly Composite[] = [CONV, ...POOLS];
