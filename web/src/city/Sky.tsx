import { memo } from 'react';

const STARS: readonly (readonly [number, number, number])[] = [
  [22, 30, 0.9],
  [71, 92, 0.6],
  [118, 18, 0.7],
  [164, 60, 1.2],
  [203, 128, 0.6],
  [247, 40, 0.8],
  [291, 84, 0.6],
  [338, 24, 1.1],
  [372, 118, 0.7],
  [419, 58, 0.6],
  [462, 12, 0.8],
  [497, 96, 1.2],
  [541, 44, 0.6],
  [583, 132, 0.7],
  [48, 150, 0.5],
  [140, 168, 0.5],
  [320, 156, 0.5],
  [440, 160, 0.6],
];

const HILLS =
  'M0 150V96c50-26 120-46 210-44 34 1 60 8 84 14V52h6V40c0-10 10-12 11-22v-7h2v7c1 10 11 12 11 22v12h14V42c0-7 7-9 8-16v-6h2v6c1 7 8 9 8 16v10h9v28c80 8 160-30 250-26 96 4 150 40 240 38 40-1 70 0 110 4v54z';

const ROOFS =
  'M0 170V114h34V98h30v16h22V80h8v-9h4v9h30v34h28V92h46v40h20V88l19-14 19 14v34h26V98h10V84h36v14h12v26h24V76h6V62h24v14h6v48h30V96h44v22h22V90h12V78h22v12h12v28h30V100h38v18h28V84h5V56h4v28h27v34h22v-8h40v14h14v46z';

/** What stands behind the city: sky, stars, moon or sun, far roofs. Nobody lives there: no light. */
export const Sky = memo(function Sky() {
  return (
    <svg className="sky" width="100%" height="100%" aria-hidden="true" focusable="false">
      <defs>
        <pattern id="stars" width="600" height="190" patternUnits="userSpaceOnUse">
          {STARS.map(([x, y, r]) => (
            <circle key={`${x}-${y}`} className="star" cx={x} cy={y} r={r} />
          ))}
        </pattern>
        <pattern id="hills" width="965" height="150" patternUnits="userSpaceOnUse">
          <path className="hills" d={HILLS} />
        </pattern>
        <pattern id="roofs" width="774" height="170" patternUnits="userSpaceOnUse">
          <path className="far-roofs" d={ROOFS} />
        </pattern>
        <radialGradient id="moonlight">
          <stop className="moon-glow" offset="0" />
          <stop className="moon-glow" offset="1" stopOpacity="0" />
        </radialGradient>
      </defs>
      <rect className="stars" width="100%" height="190" fill="url(#stars)" />
      <g className="moon">
        <circle r="130" fill="url(#moonlight)" />
        <path className="moon-crescent" d="M6-28A29 29 0 1 0 27 14 24 24 0 0 1 6-28z" />
        <circle className="sun-disc" r="30" />
      </g>
      <g className="clouds">
        <path d="M0 26c2-12 16-16 24-9C30 4 52 4 57 17c14-3 22 4 22 13H-2c0-2 0-3 2-4z" />
        <path d="M150 60c2-9 12-12 18-7 5-9 21-9 25 1 10-2 17 3 17 10h-62c0-2 0-3 2-4z" />
      </g>
      <svg y="100%" overflow="visible">
        <g transform="translate(-60 -178)">
          <rect y="1" width="4000" height="149" fill="url(#hills)" />
          <rect className="hills" y="144" width="4000" height="44" />
        </g>
        <g transform="translate(-130 -132)">
          <rect y="1" width="4000" height="169" fill="url(#roofs)" />
        </g>
      </svg>
    </svg>
  );
});
