# What clients of the model test do to rows: single statements, each text of SQL, chosen by the caller's rand().
#
# They are an honest application's. A file goes into a row when it has just been uploaded for it, or when another row holds
# it and cannot lose it meanwhile: in the same statement that row is locked FOR SHARE, or deleted. Files of the table pins,
# which nobody changes while clients run, are put anywhere at any time.

package ImageKit::ModelActions;

use strict;
use warnings;

use ImageKit::ModelFiles;
use ImageKit::ModelTables;

my @tables = qw(gallery docs pages parts pairs);
my $ids = 60;

# FRESH: [next, last] numbers of uploaded files that are this client's; PINS: files.
sub new
{
	my ($class, %options) = @_;
	return bless {%options}, $class;
}

my @actions = (
	[ 8 => \&_insert_fresh ], [ 8 => \&_insert_from_row ], [ 3 => \&_insert_pinned ], [ 4 => \&_put_back ], [ 4 => \&_move_to_table ],
	[ 5 => \&_drop_some ], [ 4 => \&_add_from_row ], [ 4 => \&_swap_fresh ], [ 3 => \&_swap_pinned ], [ 3 => \&_spell_anew ],
	[ 3 => \&_exchange ], [ 8 => \&_delete_one ], [ 2 => \&_delete_many ], [ 2 => \&_delete_uses ], [ 6 => \&_move_partition ],
	[ 3 => \&_merge ], [ 1 => \&_unreadable ]);
my $weights = 0;
$weights += $_->[0] for @actions;

sub any
{
	my ($self) = @_;
	my $at = rand $weights;
	for my $action (@actions) { return $action->[1]->($self) if ($at -= $action->[0]) < 0; }
	die;
}

# A row with files of another that may lose them at any moment. Only in a transaction that is rolled back: as long as it is open,
# and only so long, these files are in use.
sub borrow { my ($self) = @_; return $self->_insert($self->_of_row('')); }

sub truncate { return 'TRUNCATE ' . _one_of(@tables, qw(parts_eu parts_asia)); }

# Where files come from: SQL of a row with the column files -------------------------------------------------------------

# Locked rows are passed by: what may be lost to another client is no source.
sub _of_row
{
	my ($self, $lock) = @_;
	my $table = _one_of(@tables);
	my $id = _id();
	$lock //= 'FOR SHARE SKIP LOCKED';
	return "SELECT files FROM $table WHERE id >= $id ORDER BY id LIMIT 1 $lock";
}

sub _fresh
{
	my ($self) = @_;
	my @files;
	for (1 .. 1 + int rand 3) { push @files, $self->{fresh}[0]++ if $self->{fresh}[0] <= $self->{fresh}[1]; }
	return @files ? 'SELECT ARRAY[' . join(',', @files) . '] AS files' : $self->_of_row;
}

sub _pinned { my ($self) = @_; return 'SELECT ARRAY[' . _one_of(@{ $self->{pins} }) . '] AS files'; }

# Into rows -------------------------------------------------------------------------------------------------------------

sub _insert
{
	my ($self, $source) = @_;
	my $table = _one_of(@tables);
	my ($id, $style) = (_id(), _style());
	my $spec = $ImageKit::ModelTables::TABLES{$table};
	my ($region_column, $region) = $table eq 'parts' ? (', region', ", '" . _region() . "'") : ('', '');
	my $columns = ImageKit::ModelTables::column_list($table);
	my $conflict = _one_of('', 'ON CONFLICT DO NOTHING',
		"ON CONFLICT ($spec->{key}) DO UPDATE SET " . join(', ', map { "$_ = excluded.$_" } split /, /, $columns));
	return "WITH s AS MATERIALIZED ($source), f AS MATERIALIZED (SELECT files[1:$spec->{most}] AS files FROM s) "
	  . "INSERT INTO $table (id$region_column, $columns) SELECT $id$region, "
	  . ImageKit::ModelTables::value_list($table, 'f.files', $style) . " FROM f $conflict";
}

sub _insert_fresh { my ($self) = @_; return $self->_insert($self->_fresh); }
sub _insert_from_row { my ($self) = @_; return $self->_insert($self->_of_row); }
sub _insert_pinned { my ($self) = @_; return $self->_insert($self->_pinned); }

# Deleted and inserted by one statement. Where the new row is in conflict the files are lost, which is allowed.
sub _move_to_table
{
	my ($self) = @_;
	my $table = _one_of(@tables);
	return $self->_insert("DELETE FROM $table WHERE " . _one_id($table) . ' RETURNING files');
}

# The same row, spelled anew.
sub _put_back
{
	my ($self) = @_;
	my $table = _one_of(@tables);
	my $columns = ImageKit::ModelTables::column_list($table);
	return "WITH gone AS (DELETE FROM $table WHERE " . _one_id($table) . " RETURNING *) INSERT INTO $table ("
	  . ($table eq 'parts' ? 'id, region' : 'id') . ", $columns) SELECT " . ($table eq 'parts' ? 'id, region' : 'id') . ', '
	  . ImageKit::ModelTables::value_list($table, 'files', _style()) . ' FROM gone';
}

sub _merge
{
	my ($self) = @_;
	my $table = _one_of(qw(gallery docs pages pairs));
	my $spec = $ImageKit::ModelTables::TABLES{$table};
	my $columns = ImageKit::ModelTables::column_list($table);
	my ($id, $style) = (_id(), _style());
	my $matched = _one_of('DELETE', 'UPDATE SET ' . ImageKit::ModelTables::assignments($table, 'v.files', $style));
	return "MERGE INTO $table t USING (SELECT i AS id, s.files[1:$spec->{most}] AS files FROM generate_series($id, $id + 1) i, (" . $self->_fresh
	  . ") s) v ON t.id = v.id WHEN MATCHED THEN $matched "
	  . "WHEN NOT MATCHED THEN INSERT (id, $columns) VALUES (v.id, " . ImageKit::ModelTables::value_list($table, 'v.files', $style) . ')'
	  if $self->{fresh}[0] <= $self->{fresh}[1];
	return $self->_delete_one;
}

sub _unreadable
{
	my ($self) = @_;
	my $url = ImageKit::ModelFiles::unreadable_url(1 + int rand ImageKit::ModelFiles::unreadable_count()) =~ s/'/''/gr;
	my $id = _id();
	return "INSERT INTO gallery VALUES ($id, '{}', ARRAY['$url']) ON CONFLICT (id) DO NOTHING";
}

# Out of rows, and from one to another ----------------------------------------------------------------------------------

sub _update
{
	my ($self, $table, $files, $style, $where, $from) = @_;
	return "UPDATE $table t SET " . ImageKit::ModelTables::assignments($table, $files, $style) . ($from // '') . " WHERE $where";
}

sub _drop_some
{
	my ($self) = @_;
	my $table = _one_of(@tables);
	my $files = _one_of('t.files[2:]', 't.files[:1]', "'{}'::int[]", 'array_remove(t.files, t.files[1])');
	return $self->_update($table, $files, _style(), _one_id($table));
}

# Another client may change the row in the meantime: what is set is made of the row as it is then.
sub _with_source
{
	my ($self, $source, $files) = @_;
	my $table = _one_of(@tables);
	my $most = $ImageKit::ModelTables::TABLES{$table}{most};
	return "WITH s AS MATERIALIZED ($source) " . $self->_update($table, "($files)[1:$most]", _style(), 't.' . _one_id($table), ' FROM s');
}

sub _add_from_row { my ($self) = @_; return $self->_with_source($self->_of_row, _one_of('t.files || s.files', 's.files || t.files')); }
sub _swap_fresh { my ($self) = @_; return $self->_with_source($self->_fresh, 's.files || t.files[2:]'); }
sub _swap_pinned { my ($self) = @_; return $self->_with_source($self->_pinned, 's.files || t.files[2:]'); }

sub _spell_anew
{
	my ($self) = @_;
	my $table = _one_of(@tables);
	return $self->_update($table, 't.files', _style(), _one_of(_one_id($table), 'id % 7 = ' . int rand 7));
}

# Two rows change their files.
sub _exchange
{
	my ($self) = @_;
	my $table = _one_of(qw(gallery docs pages pairs));
	my ($one, $other) = (_id(), _id());
	return "WITH pair AS MATERIALIZED (SELECT id, files FROM $table WHERE id IN ($one, $other) ORDER BY id FOR UPDATE) "
	  . $self->_update($table, 'o.files', _style(), "t.id IN ($one, $other) AND o.id <> t.id", ' FROM pair o');
}

sub _delete_one
{
	my ($self) = @_;
	my $table = _one_of(@tables);
	return "DELETE FROM $table WHERE " . _one_id($table);
}

sub _delete_many
{
	my ($self) = @_;
	my $id = _id();
	return 'DELETE FROM ' . _one_of(@tables) . ' WHERE ' . _one_of("id BETWEEN $id AND $id + 8", 'id % 5 = ' . int rand 5);
}

# Every row of a table that shares a file with some row.
sub _delete_uses
{
	my ($self) = @_;
	my $table = _one_of(@tables);
	return "DELETE FROM $table WHERE files && (SELECT files FROM " . _one_of(@tables) . ' WHERE id >= ' . _id() . ' LIMIT 1)';
}

sub _move_partition
{
	my ($self) = @_;
	my $region = _region();
	my ($id, $style) = (_id(), _style());
	my $where = _one_id('parts') . " AND region <> '$region' AND NOT EXISTS (SELECT FROM parts p WHERE p.id = t.id AND p.region = '$region')";
	return _one_of(
		"UPDATE parts t SET region = '$region' WHERE $where",
		"UPDATE parts t SET region = '$region', " . ImageKit::ModelTables::assignments('parts', 't.files', $style) . " WHERE $where",
		"UPDATE parts t SET region = '$region', " . ImageKit::ModelTables::assignments('parts', 't.files[2:]', $style) . " WHERE $where",
		"UPDATE parts t SET id = $id, " . ImageKit::ModelTables::assignments('parts', 't.files[2:]', $style)
		  . ' WHERE ' . _one_id('parts') . " AND NOT EXISTS (SELECT FROM parts p WHERE p.id = $id AND p.region = t.region)",
		"UPDATE parts t SET region = CASE region WHEN 'eu' THEN 'us' ELSE 'eu' END WHERE region <> 'asia' AND id % 9 = " . int(rand 9)
		  . ' AND (SELECT count(*) FROM parts p WHERE p.id = t.id) = 1');
}

sub _one_of { return $_[ rand @_ ]; }
sub _id { return 1 + int rand $ids; }
sub _style { return int rand 100; }
sub _region { return _one_of(@ImageKit::ModelTables::REGIONS); }

# A row near a number, most of the time one that nobody else is at.
sub _one_id
{
	my ($table) = @_;
	my $id = _id();
	return rand() < 0.3 ? "id = $id" : "id = (SELECT id FROM $table WHERE id >= $id ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)";
}

1;
