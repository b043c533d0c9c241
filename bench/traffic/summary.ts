import type { TrafficBin } from '../common/records.js';
import { quantile, summarize, type LatencySummary } from '../common/statistics.js';
import { rateAt, type RateCurve } from './curves.js';
import type { Played } from './play.js';

export interface TrafficSummary extends LatencySummary {
  readonly offered: number;
  readonly rejected: number;
  readonly withinSla: number;
  readonly sendLagP99Ms: number | null;
}

export function summarizePlayed(played: readonly Played[], slaMs: number): TrafficSummary {
  const answered = latencies(played);
  return {
    ...summarize(answered),
    offered: played.length,
    rejected: played.length - answered.length,
    withinSla: shareWithin(played, slaMs) ?? 1,
    sendLagP99Ms: quantile(
      played.map(({ lagMs }) => lagMs).sort((a, b) => a - b),
      0.99,
    ),
  };
}

export interface BinOptions {
  readonly count: number;
  readonly seconds: number;
  readonly rate: number;
  readonly slaMs: number;
}

/** Played arrivals by when they were due. */
export function binPlayed(
  played: readonly Played[],
  curve: RateCurve,
  { count, seconds, rate, slaMs }: BinOptions,
): readonly TrafficBin[] {
  const bins: Played[][] = Array.from({ length: count }, () => []);
  for (const p of played) bins[Math.min(count - 1, Math.floor((p.dueSeconds / seconds) * count))]!.push(p);
  return bins.map((bin, i) => {
    const at = (i + 0.5) / count;
    const { p50Ms, p99Ms } = summarize(latencies(bin));
    return {
      atSeconds: at * seconds,
      rate: rate * rateAt(curve, at),
      offered: bin.length,
      p50Ms,
      p99Ms,
      withinSla: shareWithin(bin, slaMs),
    };
  });
}

function latencies(played: readonly Played[]): readonly number[] {
  return played.flatMap(({ latencyMs }) => latencyMs ?? []);
}

function shareWithin(played: readonly Played[], slaMs: number): number | null {
  if (played.length === 0) return null;
  return played.filter(({ latencyMs }) => latencyMs !== null && latencyMs <= slaMs).length / played.length;
}
