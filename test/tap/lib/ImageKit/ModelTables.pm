# The watched tables of the model test: one for each way to hold URLs. Each row says in the column files, which nobody
# watches, what its URLs are meant to be, and model.log gets one entry for each file that a row gains or loses. When the
# entry's transaction committed says when that was so.

package ImageKit::ModelTables;

use strict;
use warnings;

use ImageKit::ModelFiles;

# name => { columns: column => SQL for it, of files F and style S; most: files a row can hold; conflict: its key; urls: SQL of its
# URLs, a row each, by other means than the extension's }
our %TABLES = (
	gallery => { columns => { images => 'model.urls(F, S)' }, most => 4, key => 'id', urls => 'unnest(images)' },
	docs => {
		columns => { body => 'model.doc(F, S)' }, most => 4, key => 'id',
		urls => q{jsonb_array_elements_text(jsonb_path_query_array(body, '$.cover') || jsonb_path_query_array(body, '$.items[*].src'))} },
	pages => {
		columns => { html => 'model.html(F, S)' }, most => 4, key => 'id',
		urls => q{(regexp_matches(html, '(?:src="|href=''|\]\()([^"'')]+)', 'g'))[1]} },
	parts => { columns => { images => 'model.urls(F, S)' }, most => 3, key => 'id, region', urls => 'unnest(images)' },
	pairs => { columns => { url => 'model.url((F)[1], S)', file_id => 'model.file_id((F)[1], S)' }, most => 1, key => 'id', urls => 'url' },
	pins => { columns => { url => 'model.url((F)[1], S)' }, most => 1, key => 'id', urls => 'url' });

our @REGIONS = ('eu', 'us', 'asia');

sub create_sql
{
	my $sql = q{
		CREATE SCHEMA model;
		CREATE TABLE model.files (file int PRIMARY KEY, urls text[], file_id text);
		CREATE TABLE model.log (file int, delta int);

		CREATE FUNCTION model.url(file int, style int) RETURNS text LANGUAGE sql STABLE AS
			$$ SELECT f.urls[1 + style % cardinality(f.urls)] FROM model.files f WHERE f.file = $1 $$;
		CREATE FUNCTION model.urls(files int[], style int) RETURNS text[] LANGUAGE sql STABLE AS
			$$ SELECT array_agg(model.url(f, style + n::int) ORDER BY n) FROM unnest(files) WITH ORDINALITY AS u(f, n) $$;
		CREATE FUNCTION model.doc(files int[], style int) RETURNS jsonb LANGUAGE sql STABLE AS
			$$ SELECT jsonb_build_object('title', 'about ' || style, 'cover', model.url(files[1], style),
				'items', (SELECT jsonb_agg(jsonb_build_object('n', n, 'src', model.url(f, style + n::int))) FROM unnest(files[2:]) WITH ORDINALITY AS u(f, n))) $$;
		CREATE FUNCTION model.html(files int[], style int) RETURNS text LANGUAGE sql STABLE AS
			$$ SELECT string_agg(format((ARRAY['<p><img alt="1" src="%s"></p>', 'An image: ![2](%s) and text', '<a href=''%s''>3</a>'])[1 + (style + n) % 3],
				model.url(f, style + n::int)), E'\n' ORDER BY n) FROM unnest(files) WITH ORDINALITY AS u(f, n) $$;
		CREATE FUNCTION model.file_id(file int, style int) RETURNS text LANGUAGE sql STABLE AS
			$$ SELECT f.file_id FROM model.files f WHERE f.file = $1 AND style % 3 <> 0 $$;

		CREATE FUNCTION model.note() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
				IF TG_OP = 'TRUNCATE' THEN
					EXECUTE format('INSERT INTO model.log SELECT unnest(files), -1 FROM ONLY %s', TG_RELID::regclass);
					RETURN NULL;
				END IF;
				IF TG_OP = 'UPDATE' AND NEW.files = OLD.files THEN RETURN NULL; END IF;
				IF TG_OP <> 'INSERT' THEN INSERT INTO model.log SELECT unnest(OLD.files), -1; END IF;
				IF TG_OP <> 'DELETE' THEN INSERT INTO model.log SELECT unnest(NEW.files), 1; END IF;
				RETURN NULL;
			END $$;

		CREATE TABLE gallery (id int PRIMARY KEY, files int[], images text[]);
		CREATE TABLE docs (id int PRIMARY KEY, files int[], body jsonb);
		CREATE TABLE pages (id int PRIMARY KEY, html text, files int[]);
		CREATE TABLE parts (id int, region text, images text[], files int[], PRIMARY KEY (id, region)) PARTITION BY LIST (region);
		CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('eu');
		CREATE TABLE parts_us (files int[], region text NOT NULL, gone text, images text[], id int NOT NULL);
		ALTER TABLE parts_us DROP COLUMN gone;
		ALTER TABLE parts ATTACH PARTITION parts_us FOR VALUES IN ('us');
		CREATE TABLE parts_asia PARTITION OF parts FOR VALUES IN ('asia') PARTITION BY RANGE (id);
		CREATE TABLE parts_low PARTITION OF parts_asia FOR VALUES FROM (MINVALUE) TO (30);
		CREATE TABLE parts_high PARTITION OF parts_asia FOR VALUES FROM (30) TO (MAXVALUE);
		CREATE TABLE pairs (id int PRIMARY KEY, files int[], url text, file_id text);
		CREATE TABLE pins (id int PRIMARY KEY, files int[], url text);

		SELECT imagekit.unwatch('patches'), imagekit.unwatch('modules');
		DROP TABLE patches, modules;
		SELECT imagekit.watch('gallery', '{images}');
		SELECT imagekit.watch('docs', '{body.cover, body.items[*].src}');
		SELECT imagekit.watch('pages', '{html}');
		SELECT imagekit.watch('parts', '{images}');
		SELECT imagekit.watch('pairs', '{url:file_id}');
		SELECT imagekit.watch('pins', '{url}');
	};
	$sql .= "CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON $_ FOR EACH ROW EXECUTE FUNCTION model.note();\n" for sort keys %TABLES;
	$sql .= "CREATE TRIGGER note_all BEFORE TRUNCATE ON $_ EXECUTE FUNCTION model.note();\n"
	  for grep({ $_ ne 'parts' } sort keys %TABLES), qw(parts_eu parts_us parts_low parts_high);
	return $sql;
}

# What all rows hold: "table id files url", a line for each URL, and one for a row without any.
sub rows_sql
{
	return join ' UNION ALL ', map {
		qq{SELECT '$_', t.id, coalesce(array_to_string(t.files, ','), ''), u.url FROM $_ t LEFT JOIN LATERAL (SELECT $TABLES{$_}{urls} AS url) u ON true}
	} sort keys %TABLES;
}

# "column = ..." or the two lists of an INSERT, for the files in SQL.
sub assignments
{
	my ($table, $files, $style) = @_;
	my $columns = $TABLES{$table}{columns};
	my %sql = (files => $files, map { $_ => _fill($columns->{$_}, $files, $style) } keys %$columns);
	return join ', ', map { "$_ = $sql{$_}" } sort keys %sql;
}

sub column_list { my ($table) = @_; return join ', ', 'files', sort keys %{ $TABLES{$table}{columns} }; }

sub value_list
{
	my ($table, $files, $style) = @_;
	my $columns = $TABLES{$table}{columns};
	return join ', ', $files, map { _fill($columns->{$_}, $files, $style) } sort keys %$columns;
}

sub _fill { my ($sql, $files, $style) = @_; return $sql =~ s/\bF\b/$files/gr =~ s/\bS\b/$style/gr; }

1;
