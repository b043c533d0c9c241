import type { Backend } from '../../runtime/index.js';
import type { Step } from '../../runtime/compile/kernel.js';

/**
 * A backend that runs, whatever the sizes, the alternative of a step whose program's key `matches`; other steps as ever.
 * @param taken gets the keys of the programs that are forced.
 */
export function forcing(backend: Backend, matches: RegExp, taken: Set<string>): Backend {
  const forced = (step: Step): Step => ({
    ...step,
    webgpu(target) {
      const kernel = step.webgpu(target);
      const found = kernel.dispatch.alternatives?.find(({ program }) => matches.test(program.key));
      if (!found) return kernel;
      taken.add(found.program.key);
      const { workgroups } = found;
      return { program: found.program, dispatch: { parameters: kernel.dispatch.parameters, workgroups } };
    },
  });
  const prepare: Backend['prepare'] = (plan, ...rest) =>
    backend.prepare({ ...plan, program: { ...plan.program, steps: plan.program.steps.map(forced) } }, ...rest);
  return new Proxy(backend, {
    get(target, name) {
      if (name === 'prepare') return prepare;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
