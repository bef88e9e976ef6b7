import { memo, type CSSProperties } from 'react';
import type { Light } from '../presence/city-state';
import {
  DOOR_HEIGHT,
  DOOR_WIDTH,
  lampsOf,
  planBuilding,
  WINDOW_HEIGHT,
  WINDOW_WIDTH,
  type BuildingPlan,
} from './building-plan';

/** The wall with its roof as one outline, the ground at y = 0 of the roof's foot. */
function outline({ width: w, height: h, roof, roofHeight: r }: BuildingPlan): string {
  const body = `V${r + h}H0Z`;
  const middle = w / 2;
  switch (roof) {
    case 'flat':
      return `M-1 ${r - 3}H${w + 1}V${r}H${w}${body}`.replace('H0Z', 'H0V' + `${r}H-1Z`);
    case 'antenna':
      return `M0 ${r}H${middle - 6}V${r - 5}H${middle - 1}V0H${middle + 1}V${r - 5}H${middle + 6}V${r}H${w}${body}`;
    case 'gable':
      return `M-2 ${r}L${middle} 0L${w + 2} ${r}H${w}${body}`;
    case 'steps':
      return `M0 ${r}V${r - 6}H${w * 0.18}V${r - 12}H${w * 0.36}V0H${w * 0.64}V${r - 12}H${w * 0.82}V${r - 6}H${w}${body}`;
    case 'dome':
      return `M0 ${r}H${w * 0.2}C${w * 0.2} ${r - 12} ${w * 0.42} ${r - 12} ${middle - 1} 6V0H${middle + 1}V6C${w * 0.58} ${r - 12} ${w * 0.8} ${r - 12} ${w * 0.8} ${r}H${w}${body}`;
    case 'tank':
      return `M0 ${r}H${w * 0.5}V${r - 5}H${w * 0.46}V4L${w * 0.65} 0L${w * 0.84} 4V${r - 5}H${w * 0.8}V${r}H${w}${body}`;
    case 'mansard':
      return `M-2 ${r}L${w * 0.12} 2H${w * 0.2}V0H${w * 0.3}V2H${w * 0.88}L${w + 2} ${r}H${w}${body}`;
  }
}

interface BuildingProps {
  slug: string;
  light: Light;
  className?: string;
}

/** A room as a house. Decoration for the eye: the numbers beside it say the same in words. */
export const Building = memo(function Building({ slug, light, className }: BuildingProps) {
  const plan = planBuilding(slug, light.online);
  const lamps = lampsOf(plan, light);
  const { width, height, roofHeight: top } = plan;
  const full = height + top;
  return (
    <svg
      className={`building tone-${plan.tone} ${className ?? ''}`}
      viewBox={`-4 0 ${width + 8} ${full}`}
      width={width + 8}
      height={full}
      style={{ '--units': width + 8 } as CSSProperties}
      aria-hidden="true"
      focusable="false"
    >
      <path className="building-wall" d={outline(plan)} />
      <rect
        className="building-shade"
        x={width * 0.8}
        y={top}
        width={width * 0.2}
        height={height}
      />
      <rect className="building-cornice" x={-1} y={top} width={width + 2} height={2.5} />
      <rect className="building-plinth" x={0} y={full - 3} width={width} height={3} />
      <rect
        className="building-door"
        x={plan.doorX}
        y={full - DOOR_HEIGHT}
        width={DOOR_WIDTH}
        height={DOOR_HEIGHT}
      />
      {plan.windows.map((window, index) => {
        const lamp = lamps[index] ?? 'dark';
        return lamp === 'lit' || lamp === 'typing' ? (
          <circle
            key={`halo-${index}`}
            className="halo"
            fill={`url(#halo-${lamp})`}
            cx={window.x + WINDOW_WIDTH / 2}
            cy={top + window.y + WINDOW_HEIGHT / 2}
            r={17}
          />
        ) : null;
      })}
      {plan.windows.map((window, index) => (
        <rect
          key={index}
          className={`window window-${lamps[index] ?? 'dark'} warmth-${window.warmth}`}
          x={window.x}
          y={top + window.y}
          width={WINDOW_WIDTH}
          height={WINDOW_HEIGHT}
          rx={0.8}
        />
      ))}
    </svg>
  );
});

/** Gradients that every building shares; stands once in the page. */
export function BuildingDefs() {
  return (
    <svg className="defs" width="0" height="0" aria-hidden="true" focusable="false">
      <defs>
        <radialGradient id="halo-lit">
          <stop className="halo-stop" offset="0" stopOpacity="0.55" />
          <stop className="halo-stop" offset="0.45" stopOpacity="0.16" />
          <stop className="halo-stop" offset="1" stopOpacity="0" />
        </radialGradient>
        <radialGradient id="halo-typing">
          <stop className="halo-stop-warm" offset="0" stopOpacity="0.75" />
          <stop className="halo-stop-warm" offset="0.45" stopOpacity="0.22" />
          <stop className="halo-stop-warm" offset="1" stopOpacity="0" />
        </radialGradient>
      </defs>
    </svg>
  );
}
