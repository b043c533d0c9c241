/**
 * Measures contestants in turns, so that a machine that slows down or speeds up does so for all of them; each round another
 * begins, so that none always follows the same one, which may have left the device idle and its clock low. Returns what was
 * measured of each, by round.
 */
export async function inTurns<T, R>(
  contestants: readonly T[],
  rounds: number,
  measure: (contestant: T, round: number) => Promise<R>,
): Promise<R[][]> {
  const measured: R[][] = contestants.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < contestants.length; turn++) {
      const i = (turn + round) % contestants.length;
      measured[i]!.push(await measure(contestants[i]!, round));
    }
  }
  return measured;
}
