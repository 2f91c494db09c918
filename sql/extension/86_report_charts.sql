-- The report's charts: inline SVG ---------------------------------------------------------------------------------------------
-- Widths are in per cent and heights in pixels, so that letters keep their size on a phone. What must be drawn to scale is
-- stretched in an SVG of its own within. A chart's amounts are one array, all of the first series, then all of the second, ...

CREATE FUNCTION imagekit.chart_ticks(lowest numeric, highest numeric, unit text) RETURNS numeric[]
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN $3 = 'seconds' THEN (
      WITH ticks AS (SELECT t.tick FROM unnest('{0.001,0.01,0.1,1,10,60,600,3600,21600,86400,604800,2592000,31536000,315360000}'::numeric[]) AS t(tick)),
      ends AS (
        SELECT l.low, (SELECT min(t.tick) FROM ticks t WHERE t.tick > l.low AND t.tick >= $2) AS high
        FROM (SELECT max(t.tick) AS low FROM ticks t WHERE t.tick <= greatest($1, 0.001) AND t.tick < 315360000) l)
      SELECT array_agg(t.tick ORDER BY t.tick) FROM ticks t CROSS JOIN ends e WHERE t.tick BETWEEN e.low AND coalesce(e.high, 315360000))
    WHEN $3 = 'bytes' THEN (
      SELECT array_agg(trim_scale(s.step * n.n) ORDER BY n.n)
      FROM (SELECT trim_scale(power(2::numeric, greatest(ceil(log(2, greatest($2, 1) / 4)), 0))) AS step) s
      CROSS JOIN generate_series(0, ceil(greatest($2, 1) / s.step)) AS n(n))
    ELSE (
      SELECT array_agg(s.step * n.n ORDER BY n.n)
      FROM (SELECT min(p.power * m.factor) AS step
            FROM (SELECT power(10::numeric, floor(log(greatest($2, 1) / 4))) AS power) p
            CROSS JOIN (VALUES (1), (2), (5), (10)) AS m(factor)
            WHERE p.power * m.factor >= greatest($2, 1) / 4 AND p.power * m.factor >= 1) s
      CROSS JOIN generate_series(0, ceil(greatest($2, 1) / s.step)) AS n(n)) END
$$;
COMMENT ON FUNCTION imagekit.chart_ticks(numeric, numeric, text) IS
  'The lines of a chart''s scale: from 0, evenly spaced, of bytes by a power of two; of seconds, a logarithmic one from below the least to above the most. Internal.';

CREATE FUNCTION imagekit.chart_height(amount numeric, lowest numeric, highest numeric) RETURNS numeric
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT round(180 * CASE WHEN $2 = 0 THEN $1 / $3 ELSE ln(greatest($1, $2) / $2) / ln($3 / $2) END, 1)
$$;
COMMENT ON FUNCTION imagekit.chart_height(numeric, numeric, numeric) IS
  'How high an amount stands above the base of a chart, of 180 pixels. The scale is logarithmic when it does not begin at 0. Internal.';

CREATE FUNCTION imagekit.chart_place(at timestamptz, first timestamptz, last timestamptz) RETURNS numeric
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT trim_scale(round((100 * extract(epoch FROM $1 - $2) / extract(epoch FROM $3 - $2))::numeric, 2))
$$;
COMMENT ON FUNCTION imagekit.chart_place(timestamptz, timestamptz, timestamptz) IS 'Where a time stands in a chart, in per cent of its width. Internal.';

-- Scale and labels. The last one must not reach beyond the page.
CREATE FUNCTION imagekit.chart_axes(ticks numeric[], unit text, label text, first timestamptz, last timestamptz) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('<text x="0" y="12">%s</text>', imagekit.html($3))
         || (SELECT string_agg(format('<line class="%s" x1="0" x2="100%%" y1="%s" y2="%s"/><text class="e" x="-8" y="%s">%s</text>',
                                      CASE WHEN t.tick = $1[1] THEN 'base' ELSE 'grid' END, y.y, y.y, y.y + 4,
                                      regexp_replace(replace(imagekit.for_people(t.tick, $2), '.0 ', ' '), '^(1 [a-z]+)s$', E'\\1')), '' ORDER BY t.tick)
             FROM unnest($1) AS t(tick)
             CROSS JOIN LATERAL (SELECT 202 - imagekit.chart_height(t.tick, $1[1], $1[cardinality($1)]) AS y) y)
         || (SELECT string_agg(format('<text%s x="%s%%" y="219">%s</text>',
                                      CASE WHEN x.place > 94 THEN ' class="e"' ELSE ' class="m"' END, CASE WHEN x.place > 94 THEN 100 ELSE x.place END, x.label), '' ORDER BY x.place)
             FROM (SELECT imagekit.chart_place(d.day + interval '12 hours', $4, $5) AS place, to_char(d.day AT TIME ZONE 'UTC', 'FMDD Mon') AS label
                   FROM (SELECT ceil(extract(epoch FROM $5 - $4) / 86400)::integer AS days) n
                   CROSS JOIN LATERAL (SELECT $4 + g.n * interval '1 day' AS day
                                       FROM generate_series(0, n.days - 1, ceil(n.days / 4.0)::integer) AS g(n)) d
                   WHERE n.days > 1
                   UNION ALL
                   SELECT imagekit.chart_place(g.at, $4, $5), to_char(g.at AT TIME ZONE 'UTC', 'HH24:MI')
                   FROM generate_series($4, $5, interval '6 hours') AS g(at) WHERE $5 - $4 <= interval '1 day') x)
         || '<text class="e" x="100%" y="236">time, UTC</text>'
$$;
COMMENT ON FUNCTION imagekit.chart_axes(numeric[], text, text, timestamptz, timestamptz) IS 'The axes of a chart with their labels. Internal.';

CREATE FUNCTION imagekit.chart_bars(names text[], at timestamptz[], amounts numeric[], ticks numeric[]) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  WITH sizes AS (SELECT cardinality($2) AS times, 100.0 / cardinality($2) AS width, $4[cardinality($4)] AS highest),
  stacked AS (
    SELECT (a.n - 1) % s.times AS place, (a.n - 1) / s.times + 1 AS series, a.amount, s.width, s.highest,
           sum(a.amount) OVER (PARTITION BY (a.n - 1) % s.times ORDER BY a.n) AS upper
    FROM unnest($3) WITH ORDINALITY AS a(amount, n) CROSS JOIN sizes s)
  SELECT string_agg(b.bar, '' ORDER BY b.place)
  FROM (
    SELECT k.place,
           format('<g><title>%s: %s</title>', to_char($2[k.place + 1] AT TIME ZONE 'UTC', 'FMDD Mon YYYY'),
                  string_agg(imagekit.for_people(k.amount, 'count') || ' ' || imagekit.html($1[k.series]), ', ' ORDER BY k.series)
                    FILTER (WHERE k.amount > 0))
           || format('<rect class="hit" x="%s%%" y="22" width="%s%%" height="180"/>', round(k.place * k.width, 2), round(k.width, 2))
           || string_agg(format('<rect class="f%s" x="%s%%" y="%s" width="%s%%" height="%s"/>', k.series, round((k.place + 0.12) * k.width, 2),
                                202 - imagekit.chart_height(k.upper, 0, k.highest), round(0.76 * k.width, 2),
                                -- what is there is seen
                                greatest(imagekit.chart_height(k.amount, 0, k.highest), 1)), '' ORDER BY k.series) FILTER (WHERE k.amount > 0)
           || '</g>' AS bar
    FROM stacked k GROUP BY k.place, k.width HAVING bool_or(k.amount > 0)) b
$$;
COMMENT ON FUNCTION imagekit.chart_bars(text[], timestamptz[], numeric[], numeric[]) IS 'Bars, one a day, of a series on top of the other. Internal.';

-- Dots where they can be told apart.
CREATE FUNCTION imagekit.chart_lines(
    names text[], unit text, at timestamptz[], amounts numeric[], ticks numeric[], first timestamptz, last timestamptz, broken boolean)
  RETURNS text LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  WITH points AS (
    SELECT p.*, row_number() OVER (PARTITION BY p.series, p.y IS NULL ORDER BY p.n) = 1
                OR $8 AND lag(p.y) OVER (PARTITION BY p.series ORDER BY p.n) IS NULL AS begins
    FROM (SELECT a.n, (a.n - 1) / cardinality($3) + 1 AS series, a.amount, $3[(a.n - 1) % cardinality($3) + 1] AS at,
                 imagekit.chart_place($3[(a.n - 1) % cardinality($3) + 1], $6, $7) AS x,
                 180 - imagekit.chart_height(a.amount, $5[1], $5[cardinality($5)]) AS y
          FROM unnest($4) WITH ORDINALITY AS a(amount, n)) p)
  SELECT (SELECT '<svg y="22" width="100%" height="180" viewBox="0 0 100 180" preserveAspectRatio="none" overflow="visible">'
                 || string_agg(l.line, '' ORDER BY l.series DESC) || '</svg>'
          FROM (SELECT p.series, format('<path class="l%s" d="%s"/>', p.series,
                                        string_agg(CASE WHEN p.begins THEN 'M' ELSE 'L' END || p.x || ' ' || p.y, '' ORDER BY p.n)) AS line
                FROM points p WHERE p.y IS NOT NULL GROUP BY p.series) l)
         || coalesce((SELECT string_agg(format('<circle class="d%s" cx="%s%%" cy="%s" r="3.5"><title>%s: %s, %s</title></circle>', p.series, p.x, p.y + 22,
                                               to_char(p.at AT TIME ZONE 'UTC', 'FMDD Mon YYYY'), imagekit.html($1[p.series]),
                                               imagekit.for_people(p.amount, $2)), '' ORDER BY p.series DESC, p.n)
                      FROM points p WHERE p.y IS NOT NULL AND cardinality($3) <= 62), '')
$$;
COMMENT ON FUNCTION imagekit.chart_lines(text[], text, timestamptz[], numeric[], numeric[], timestamptz, timestamptz, boolean) IS
  'Lines through the amounts of each series. Where nothing is known (NULL) they are broken, or go on to the next that is. Internal.';

CREATE FUNCTION imagekit.chart_steps(at timestamptz[], amounts numeric[], ticks numeric[], first timestamptz, last timestamptz, until timestamptz)
  RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('<svg y="22" width="100%%" height="180" viewBox="0 0 100 180" preserveAspectRatio="none" overflow="visible">'
                '<path class="f1 area" d="M0 180V%sV180Z"/><path class="l1" d="M0 %s"/></svg>', p.path, p.path)
  FROM (SELECT string_agg(y.y || 'H' || imagekit.chart_place(coalesce($1[a.n + 1], $6), $4, $5), 'V' ORDER BY a.n) AS path
        FROM unnest($2) WITH ORDINALITY AS a(amount, n)
        CROSS JOIN LATERAL (SELECT 180 - imagekit.chart_height(a.amount, 0, $3[cardinality($3)]) AS y) y) p
$$;
COMMENT ON FUNCTION imagekit.chart_steps(timestamptz[], numeric[], numeric[], timestamptz, timestamptz, timestamptz) IS
  'An area under steps: each amount holds from its time to the next, the last until then. Internal.';

CREATE FUNCTION imagekit.chart_legend(names text[], lines boolean) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT '<ul class="legend">'
         || string_agg(format('<li><svg aria-hidden="true" width="%s" height="11">%s</svg>%s</li>', CASE WHEN $2 THEN 26 ELSE 11 END,
                              CASE WHEN $2 THEN format('<path class="l%s" d="M0 5.5H26"/>', n.n) ELSE format('<rect class="f%s" width="11" height="11"/>', n.n) END,
                              imagekit.html(n.name)), '' ORDER BY n.n) || '</ul>'
  FROM unnest($1) WITH ORDINALITY AS n(name, n)
$$;
COMMENT ON FUNCTION imagekit.chart_legend(text[], boolean) IS 'Which colour, or line, is which series. Internal.';

-- The numbers again, for who cannot see the chart or wants them exactly. A time of which there is nothing is left out.
CREATE FUNCTION imagekit.chart_numbers(at_label text, names text[], unit text, at timestamptz[], amounts numeric[]) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT '<details><summary>Numbers</summary>'
         || imagekit.html_table(ARRAY[$1] || (SELECT array_agg(imagekit.html(n.name) ORDER BY n.n) FROM unnest($2) WITH ORDINALITY AS n(name, n)),
                                'l' || repeat('r', cardinality($2)), coalesce(string_agg(t.line, '' ORDER BY t.place DESC), ''))
         || '</details>'
  FROM (SELECT (a.n - 1) % cardinality($4) AS place,
               format('<tr><td class="w">%s</td>', CASE WHEN $1 = 'day' THEN to_char($4[(a.n - 1) % cardinality($4) + 1] AT TIME ZONE 'UTC', 'FMDD Mon YYYY')
                                              ELSE imagekit.html_time($4[(a.n - 1) % cardinality($4) + 1]) END)
               || string_agg(format('<td class="r">%s</td>', imagekit.html_figure(a.amount, $3)), '' ORDER BY a.n) || '</tr>' AS line
        FROM unnest($5) WITH ORDINALITY AS a(amount, n)
        GROUP BY (a.n - 1) % cardinality($4) HAVING bool_or(a.amount <> 0)) t
$$;
COMMENT ON FUNCTION imagekit.chart_numbers(text, text[], text, timestamptz[], numeric[]) IS 'The table beneath a chart, the latest first. Internal.';

CREATE FUNCTION imagekit.chart_figure(id text, title text, note text, description text, legend text, drawing text, numbers text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('<figure class="card" id="%s"><figcaption><h3>%s</h3><p>%s</p></figcaption>', $1, $2, $3)
         || CASE WHEN $6 IS NULL THEN format('<p class="none">%s</p>', $4)
                 ELSE coalesce($5, '')
                      || format('<svg class="plot" role="img" aria-labelledby="%s-title %s-about" height="240"><title id="%s-title">%s</title>'
                                '<desc id="%s-about">%s</desc>%s</svg>', $1, $1, $1, $2, $1, $4, $6)
                      || $7 END
         || '</figure>'
$$;
COMMENT ON FUNCTION imagekit.chart_figure(text, text, text, text, text, text, text) IS
  'A chart with title, note, text alternative, legend and numbers, all of them HTML. Without a drawing (NULL), its description says why. Internal.';
