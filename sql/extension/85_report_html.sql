-- The report's HTML: escaping, figures, style -------------------------------------------------------------------------------
-- What comes from a table, a library or an option gets into the page through imagekit.html() and nothing else. The page is
-- ASCII, so that no encoding on its way to a browser matters.

CREATE FUNCTION imagekit.code_points(value text) RETURNS integer[]
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_code_points';
COMMENT ON FUNCTION imagekit.code_points(text) IS
  'The Unicode code point of each character, whatever the database''s encoding; 65533 for one that Unicode does not have. Internal.';

-- The joiners U+200C and U+200D are not among them: Persian, Hindi and emoji are written with them.
CREATE FUNCTION imagekit.is_hidden(code integer) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT $1 < 32 OR $1 BETWEEN 127 AND 159
      OR $1 IN (173, 847, 1564, 4447, 4448, 6158, 8203, 8206, 8207, 12644, 65279, 65440)
      OR $1 BETWEEN 8232 AND 8238 OR $1 BETWEEN 8288 AND 8303 OR $1 BETWEEN 65529 AND 65531 OR $1 BETWEEN 917504 AND 917631
$$;
COMMENT ON FUNCTION imagekit.is_hidden(integer) IS
  'Is this the code point of a control character, of one that has no width, or of one that changes the direction of those behind it? '
  'Such a one makes a text look like another. Internal.';

CREATE FUNCTION imagekit.html(value text, exact boolean DEFAULT false) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  escaped text := replace(replace(replace(replace(replace(
    html.value, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;');
BEGIN
  IF escaped !~ '[^ -~]' THEN
    RETURN escaped;
  END IF;
  RETURN (
    SELECT string_agg(
             CASE WHEN c.code BETWEEN 32 AND 126 OR html.exact AND c.code IN (9, 10) THEN chr(c.code)
                  -- a reference to one of these would mean another character
                  WHEN c.code BETWEEN 128 AND 159 THEN '&#65533;'
                  WHEN html.exact OR NOT imagekit.is_hidden(c.code) THEN '&#' || c.code || ';'
                  -- the symbol of it
                  WHEN c.code < 32 THEN '&#' || 9216 + c.code || ';'
                  ELSE '&#65533;' END, '' ORDER BY c.place)
    FROM unnest(imagekit.code_points(escaped)) WITH ORDINALITY AS c(code, place));
END $$;
COMMENT ON FUNCTION imagekit.html(text, boolean) IS
  'A text as it may stand in HTML, between tags or in quotes, in ASCII. Characters that cannot be seen, and those that change the '
  'direction of text, are replaced by a symbol; exact: kept. Internal.';

CREATE FUNCTION imagekit.html_name(value text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT '<bdi>' || coalesce(imagekit.html($1), '&ndash;') || '</bdi>'
$$;
COMMENT ON FUNCTION imagekit.html_name(text) IS
  'A name in HTML: one in Arabic or Hebrew does not turn around what stands beside it. Internal.';

CREATE FUNCTION imagekit.html_title(value text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN length($1) > 200
              THEN '<details class="long"><summary><b><bdi>' || imagekit.html(left($1, 120)) || '&#8230;' || imagekit.html(right($1, 40))
                   || '</bdi></b></summary>' || imagekit.html_name($1) || '</details>'
              ELSE '<b>' || imagekit.html_name($1) || '</b>' END
$$;
COMMENT ON FUNCTION imagekit.html_title(text) IS
  'The name of a finding in HTML; of a long one the beginning and the end, and all of it on demand. Internal.';

CREATE FUNCTION imagekit.html_sentence(value text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT regexp_replace(imagekit.html($1), '[.[:space:]]+$', '') || '.'
$$;
COMMENT ON FUNCTION imagekit.html_sentence(text) IS
  'The end of a sentence in HTML: words of PostgreSQL and of ours have no full stop, those of ImageKit may. Internal.';

-- Where letters are not UTF-8, what cannot be copied out of the page is spelled by its bytes; in SQL_ASCII that is all that is not
-- ASCII, for nobody knows what it is.
CREATE FUNCTION imagekit.seen_literal(value text) RETURNS text
  LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN bool_or(c.hidden)
              THEN 'E''' || string_agg(
                     CASE WHEN c.hidden AND c.code > 127 AND getdatabaseencoding() <> 'UTF8'
                          THEN regexp_replace(encode(convert_to(c.letter, getdatabaseencoding()), 'hex'), '(..)', '\\x\1', 'g')
                          WHEN c.hidden AND c.code > 65535 THEN chr(92) || 'U' || lpad(to_hex(c.code), 8, '0')
                          WHEN c.hidden THEN chr(92) || 'u' || lpad(to_hex(c.code), 4, '0')
                          WHEN c.letter IN ('''', chr(92)) THEN c.letter || c.letter
                          ELSE c.letter END, '' ORDER BY c.place) || ''''
              ELSE quote_literal($1) END
  FROM (SELECT t.letter, t.place, t.code, imagekit.is_hidden(t.code) OR t.code = 65533 AND getdatabaseencoding() <> 'UTF8' AS hidden
        FROM (SELECT l.letter, l.place, (imagekit.code_points(l.letter))[1] AS code
              FROM string_to_table($1, NULL) WITH ORDINALITY AS l(letter, place)) t) c
$$;
COMMENT ON FUNCTION imagekit.seen_literal(text) IS
  'A text as a literal of SQL, like quote_literal(), with what cannot be seen spelled out. Internal.';

CREATE FUNCTION imagekit.html_sql(label text, statement text) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT '<div class="sql"><p>' || $1 || '</p><pre><code>'
         || CASE WHEN EXISTS (SELECT FROM unnest(imagekit.code_points($2)) AS c(code) WHERE imagekit.is_hidden(c.code) AND c.code NOT IN (9, 10))
                 THEN '-- Some of its characters cannot be seen, or turn others around: read it with care.' || chr(10) ELSE '' END
         || imagekit.html($2, true) || '</code></pre></div>'
$$;
COMMENT ON FUNCTION imagekit.html_sql(text, text) IS 'SQL to be copied out of the report, with what it is for (HTML) above it. Internal.';

-- Figures -----------------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.for_people(value numeric, unit text) RETURNS text
  LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE $2
    WHEN 'percent' THEN to_char($1, 'FM990.0') || '%'
    WHEN 'count' THEN to_char($1, 'FM999,999,999,999,999,990')
    ELSE (SELECT to_char($1 / u.size, CASE u.name WHEN 'B' THEN 'FM9990' WHEN 'ms' THEN 'FM990' ELSE 'FM999,990.0' END) || ' ' || u.name
          FROM (VALUES ('bytes', 1, 'B'), ('bytes', 1024, 'kB'), ('bytes', 1048576, 'MB'), ('bytes', 1073741824, 'GB'), ('bytes', 1099511627776, 'TB'),
                       ('seconds', 0.001, 'ms'), ('seconds', 1, 's'), ('seconds', 60, 'min'), ('seconds', 3600, 'hours'),
                       ('seconds', 86400, 'days')) AS u(unit, size, name)
          WHERE u.unit = $2
          -- the largest of which it is one or more, as it will be printed
          ORDER BY round(abs($1) / u.size, 1) >= 1 DESC, CASE WHEN round(abs($1) / u.size, 1) >= 1 THEN -u.size ELSE u.size END LIMIT 1) END
$$;
COMMENT ON FUNCTION imagekit.for_people(numeric, text) IS
  'A figure as people read it: 12,345 (unit count), 1.2 GB (bytes, by 1,024 as pg_size_pretty()), 3.5 min (seconds), 7.1% (percent). Internal.';

CREATE FUNCTION imagekit.html_figure(value numeric, unit text DEFAULT 'count') RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce('<data value="' || trim_scale($1) || '">' || replace(imagekit.for_people($1, $2), ' ', '&nbsp;') || '</data>', '&ndash;')
$$;
COMMENT ON FUNCTION imagekit.html_figure(numeric, text) IS 'A figure in HTML, with the exact number beside what people read. Internal.';

CREATE FUNCTION imagekit.html_files(files numeric) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT imagekit.html_figure($1) || CASE WHEN $1 = 1 THEN ' file' ELSE ' files' END
$$;
COMMENT ON FUNCTION imagekit.html_files(numeric) IS 'So many files, in HTML. Internal.';

CREATE FUNCTION imagekit.html_time(at timestamptz, day_only boolean DEFAULT false) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce('<time datetime="' || to_char($1 AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || '">'
                  || to_char($1 AT TIME ZONE 'UTC', CASE WHEN $2 THEN 'FMDD Mon YYYY' ELSE 'FMDD Mon YYYY, HH24:MI' END) || '</time>', '&ndash;')
$$;
COMMENT ON FUNCTION imagekit.html_time(timestamptz, boolean) IS 'A time in HTML, by UTC. Internal.';

CREATE FUNCTION imagekit.html_table(heads text[], aligned text, body text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT '<div class="scroll"><table><thead><tr>'
         || string_agg(format('<th scope="col"%s>%s</th>', CASE substr($2, h.place::integer, 1) WHEN 'r' THEN ' class="r"' ELSE '' END, h.head), ''
                       ORDER BY h.place)
         || '</tr></thead><tbody>' || $3 || '</tbody></table></div>'
  FROM unnest($1) WITH ORDINALITY AS h(head, place)
$$;
COMMENT ON FUNCTION imagekit.html_table(text[], text, text) IS
  'A table of these rows (HTML). aligned: a letter a column, r for figures. It scrolls by itself where it is too wide. Internal.';

CREATE FUNCTION imagekit.html_item(name text, about text, why text, statements text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT '<li>' || imagekit.html_title($1) || '<span>' || $2 || '</span>' || coalesce('<span class="why">' || $3 || '</span>', '')
         || coalesce('<details><summary>SQL</summary>' || $4 || '</details>', '') || '</li>'
$$;
COMMENT ON FUNCTION imagekit.html_item(text, text, text, text) IS 'A finding in a list: its name, and in HTML what is known, why, what to run. Internal.';

-- Its looks ---------------------------------------------------------------------------------------------------------------
-- The colours s1 to s6 are told apart by those who do not see red or green as well, and lines by their dashes too.

CREATE FUNCTION imagekit.report_style() RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT '
:root{color-scheme:light dark;--paper:#f6f7f8;--card:#fff;--ink:#1d2327;--soft:#5b6670;--line:#dde2e6;--grid:#e9edf0;--code:#f3f5f7;
--accent:#1f5fa8;--good:#1d7a46;--warn:#8f5600;--bad:#b3261e;--good-bg:#e6f4ec;--warn-bg:#fdf1dd;--bad-bg:#fce8e6;
--s1:#0072b2;--s2:#e69f00;--s3:#009e73;--s4:#cc79a7;--s5:#d55e00;--s6:#8a949c}
@media (prefers-color-scheme:dark){:root{--paper:#121518;--card:#1a1e22;--ink:#e4e8eb;--soft:#9aa5af;--line:#30373d;--grid:#262c31;--code:#21262b;
--accent:#82b8f2;--good:#6cc893;--warn:#e8b563;--bad:#f2948c;--good-bg:#17301f;--warn-bg:#33270f;--bad-bg:#3a1c1a;
--s1:#56b4e9;--s2:#e6a817;--s3:#1fb890;--s4:#d990bb;--s5:#f0803f;--s6:#77828b}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:break-word}
.page{max-width:70rem;margin:0 auto;padding:2.5rem 1.5rem 4rem}
h1{font-size:1.75rem;line-height:1.2;font-weight:650;letter-spacing:-.015em;margin:0 0 .4rem}
h2{font-size:1.25rem;line-height:1.3;font-weight:650;letter-spacing:-.01em;margin:0 0 .35rem}
h3{font-size:1rem;line-height:1.35;font-weight:650;margin:0}
article h3{font-size:1.2rem;letter-spacing:-.01em}
p{margin:0 0 .6rem}
a{color:var(--accent)}
.soft,.meta{color:var(--soft)}
.meta{margin:0}
section{margin-top:2.75rem}
section>p{color:var(--soft);max-width:46rem;margin-bottom:1rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1.1rem 1.25rem;margin:0 0 1rem;min-width:0}
nav{margin-top:1.1rem;display:flex;flex-wrap:wrap;gap:.35rem 1.1rem;font-size:.9rem}
nav a{text-decoration:none}
nav a:hover{text-decoration:underline}
.say{font-size:1.08rem;line-height:1.5;max-width:54rem;margin:.25rem 0 .5rem}
.badge{display:inline-block;font-size:.78rem;font-weight:600;line-height:1;padding:.32rem .55rem;border-radius:99px;vertical-align:.18rem;margin-left:.55rem;letter-spacing:0}
.good .badge{color:var(--good);background:var(--good-bg)}
.warn .badge{color:var(--warn);background:var(--warn-bg)}
.bad .badge{color:var(--bad);background:var(--bad-bg)}
.good{border-left:4px solid var(--good)}.warn{border-left:4px solid var(--warn)}.bad{border-left:4px solid var(--bad)}
dl.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.75rem 1.25rem;margin:1rem 0 .2rem;padding-top:.9rem;border-top:1px solid var(--line)}
dl.figures div{min-width:0}
dl.figures dt{color:var(--soft);font-size:.82rem;line-height:1.3}
dl.figures dd{margin:.1rem 0 0;font-size:1.3rem;font-weight:600;letter-spacing:-.01em;line-height:1.25}
dl.figures dd small{display:block;font-size:.82rem;font-weight:400;color:var(--soft);letter-spacing:0}
ol.todo{margin:1rem 0 0;padding:0 0 0 1.4rem}
ol.todo>li{margin:0 0 .9rem;padding-left:.2rem}
ol.todo>li:last-child{margin-bottom:.1rem}
ol.todo>li::marker{color:var(--soft);font-weight:600}
.sql{margin:.4rem 0}.sql:last-child{margin-bottom:0}
.sql p{margin:0 0 .15rem;font-size:.84rem;color:var(--soft)}
pre{margin:0;padding:.5rem .7rem;background:var(--code);border:1px solid var(--line);border-radius:6px;font-size:.84rem;line-height:1.45;white-space:pre-wrap;overflow-wrap:anywhere}
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.charts{margin-bottom:1rem;display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,27rem),1fr));gap:1rem}
figure{margin:0}
figure.card{margin:0}
figcaption p{color:var(--soft);font-size:.86rem;line-height:1.4;margin:.15rem 0 .5rem}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.15rem .95rem;margin:.1rem 0 .3rem;padding:0;font-size:.84rem}
.legend svg{vertical-align:-.1em;margin-right:.4rem}
.plot{display:block;overflow:visible;margin:.2rem 0 0 4.2rem;width:calc(100% - 4.4rem)}
.plot text{font-size:12px;fill:var(--soft)}
.plot .e{text-anchor:end}.plot .m{text-anchor:middle}
.grid{stroke:var(--grid);stroke-width:1}.base{stroke:var(--line);stroke-width:1}
.hit{fill:transparent}
.f1{fill:var(--s1)}.f2{fill:var(--s2)}.f3{fill:var(--s3)}.f4{fill:var(--s4)}.f5{fill:var(--s5)}.f6{fill:var(--s6)}
.area{fill-opacity:.18}
.l1,.l2,.l3{fill:none;stroke-width:2;vector-effect:non-scaling-stroke;stroke-linejoin:round}
.l1{stroke:var(--s1)}.l2{stroke:var(--s5);stroke-dasharray:7 4}.l3{stroke:var(--s6);stroke-dasharray:2 3}
.d1{fill:var(--s1)}.d2{fill:var(--s5)}.d3{fill:var(--s6)}
.none{color:var(--soft);margin:.3rem 0 .4rem}
details{margin-top:.6rem;font-size:.9rem}
summary{cursor:pointer;color:var(--accent);font-size:.86rem;width:max-content;max-width:100%}
.scroll{overflow-x:auto;margin-top:.5rem}
.scroll+.scroll,.more+.scroll{margin-top:1.6rem}
time,data,.w{white-space:nowrap}
table{border-collapse:collapse;width:100%;font-size:.88rem;line-height:1.4}
th{font-weight:600;text-align:left;color:var(--soft);font-size:.8rem;white-space:nowrap;border-bottom:1px solid var(--line);padding:.35rem .8rem .35rem 0}
td{vertical-align:top;border-bottom:1px solid var(--grid);padding:.45rem .8rem .45rem 0}
tr:last-child>td{border-bottom:0}
td:last-child,th:last-child{padding-right:0}
.r{text-align:right;white-space:nowrap}
.n{min-width:9rem;max-width:28rem;overflow-wrap:anywhere}
.bar{display:block;width:7rem;height:.5rem;margin-top:.4rem}
.bar .t{fill:var(--grid)}
.more{color:var(--soft);font-size:.9rem;margin:.7rem 0 0}
ol.finds{list-style:none;margin:.2rem 0 0;padding:0;display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,27rem),1fr));gap:0 2rem}
ol.finds li{padding:.6rem 0;border-bottom:1px solid var(--grid);min-width:0}
ol.finds b{font-weight:600;overflow-wrap:anywhere;display:block;font-size:.9rem;line-height:1.35}
ol.finds span{font-size:.82rem;color:var(--soft);line-height:1.45;display:block;overflow-wrap:anywhere}
ol.finds .why{color:var(--ink)}
ol.finds details{margin-top:.2rem}
ol.files{list-style:none;margin:.9rem 0 0;padding:0;display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr));gap:.3rem 1.5rem}
details.long{margin:0!important;overflow-wrap:anywhere}
details.long summary{width:auto;color:inherit}
ol .long b{display:inline!important}
ol.files li{display:grid;grid-template-columns:64px minmax(0,1fr);gap:.85rem;align-items:center;padding:.45rem 0;border-bottom:1px solid var(--grid)}
ol.files b{font-weight:600;overflow-wrap:anywhere;display:block;font-size:.9rem;line-height:1.35}
ol.files span{font-size:.82rem;color:var(--soft);line-height:1.4;display:block}
ol.files strong{color:var(--ink);font-weight:600}
.thumb{width:64px;height:64px;border-radius:6px;background:var(--code);border:1px solid var(--line);object-fit:cover;display:block;overflow:hidden;
font-size:10px;line-height:1.25;color:var(--soft);overflow-wrap:anywhere}
.thumb.no{display:grid;place-items:center}
footer{margin-top:3rem;padding-top:1rem;border-top:1px solid var(--line);color:var(--soft);font-size:.86rem}
footer p{max-width:46rem}
@media (max-width:40rem){.page{padding:1.5rem 1rem 3rem}h1{font-size:1.45rem}.card{padding:.95rem 1rem}.plot{margin-left:3.9rem;width:calc(100% - 4rem)}section{margin-top:2.2rem}dl.figures{grid-template-columns:1fr 1fr}}
@media print{body{background:#fff}.card{break-inside:avoid}nav{display:none}}
'
$$;
COMMENT ON FUNCTION imagekit.report_style() IS 'The report''s style sheet. Internal.';
