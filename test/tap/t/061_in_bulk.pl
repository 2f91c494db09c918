# How little is asked for many files, and how little is written: counted in requests and in rows.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { 'imagekit_cleanup.worker_idle_timeout' => '60s', autovacuum => 'off' });
my $imagekit = $t->imagekit;
$t->sql(q{ALTER SERVER acme OPTIONS (ADD hold_fraction 'off')});
my $count = 500;

# Files of a row each, over FOLDERS folders, removed by one statement while nobody sends; then counted.
sub remove_many
{
	my ($table, $prefix, $folders) = @_;
	my @ids = $imagekit->seed(map { { filePath => path_of($prefix, $folders, $_) } } 1 .. $count);
	$t->setting('imagekit_cleanup.enabled', 'off');
	my $values = join ',', map { "($_, '$ENDPOINT" . path_of($prefix, $folders, $_) . "', '$ids[$_ - 1]')" } 1 .. $count;
	$t->sql("INSERT INTO $table VALUES $values; DELETE FROM $table");
	$imagekit->forget;
	$t->sql('SELECT pg_stat_reset()');
	$t->setting('imagekit_cleanup.enabled', 'on');
	eventually { $imagekit->count(prefix => "/$prefix/") . $t->pending } '00', "$prefix: all are deleted";
	my ($reads, $writes) = (scalar $imagekit->requests(method => 'GET'), scalar $imagekit->deletes);
	return "$reads reads, $writes deletes";
}
sub path_of { my ($prefix, $folders, $i) = @_; return "/$prefix/" . ($i % $folders) . "/$prefix$i.jpg"; }

$t->sql(q{CREATE TABLE by_name (id int, url text, file_id text); SELECT imagekit.watch('by_name', '{url}', create_index => false)});
$t->sql(q{CREATE TABLE by_id (id int, url text, file_id text); SELECT imagekit.watch('by_id', '{url:file_id}', create_index => false)});

is(remove_many('by_name', 'one', 1), '20 reads, 10 deletes', '0.06 requests a file in one folder');
is(remove_many('by_name', 'many', 250), '20 reads, 10 deletes', 'and in 250 folders');
is(remove_many('by_id', 'ids', 250), '5 reads, 10 deletes', '0.03 where the rows name fileIds');
$t->sql(q{ALTER SERVER acme OPTIONS (ADD bulk_size '100')});
is(remove_many('by_id', 'hundred', 250), '5 reads, 5 deletes', '0.02 with a hundred to a delete');
$t->sql(q{ALTER SERVER acme OPTIONS (DROP bulk_size)});

# The rows of the last 500: one claim and its end, and the history.
is($t->sql(q{SELECT count(*) FROM imagekit.history WHERE outcome = 'deleted'}), 4 * $count, 'each is in the history');
my $written = q{SELECT string_agg(relname || ' ' || n_tup_ins || ' ' || n_tup_upd || ' ' || n_tup_del, ', ' ORDER BY relname)
	FROM pg_stat_user_tables WHERE schemaname = 'imagekit' AND relname IN ('backlog', 'history') };
eventually { $t->sql($written) } "backlog 0 0 0, history $count 0 0", 'no row of the backlog is written for a file that meets no obstacle, and none is updated';
cmp_ok($t->sql(q{SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'claims'}), '<=', 10, 'a handful of rows say who has them in hand');

# Rows that lie about their fileIds: of another file, of none.
my ($other) = $imagekit->seed('/other.jpg');
$imagekit->seed('/lies.jpg', '/nonsense.jpg', '/empty.jpg');
$t->sql(qq{INSERT INTO by_id VALUES (1, '$ENDPOINT/lies.jpg', '$other'), (2, '$ENDPOINT/nonsense.jpg', 'no fileId'), (3, '$ENDPOINT/empty.jpg', ''); DELETE FROM by_id});
eventually { $t->pending } '0', 'fileIds of other files';
is($t->files, '/lies.jpg /nonsense.jpg /other.jpg', 'delete neither the file they name nor that of the URL');
is($t->sql(q{SELECT count(*) FROM imagekit.history WHERE outcome = 'skipped' AND detail ~ '^another file is at this path now: the row named fileId'}), '2', 'and the history says why');

# The history is forgotten in time.
$t->sql(q{UPDATE imagekit.history SET settled_at = settled_at - interval '400 days' WHERE url ~ '/(one|many)/'});
my $left = $t->sql('SELECT count(*) FROM imagekit.history') - 2 * $count;
# It looks every ten seconds, when it looks at all; enable() wakes it.
eventually { $t->sql('SELECT imagekit.enable()'); $t->sql('SELECT count(*) FROM imagekit.history') } $left, 'outcomes older than a year are forgotten', 40;
is($t->sql(q{SELECT min(settled_at) > now() - interval '1 day' FROM imagekit.history}), 't', 'and no others');
$t->setting('imagekit_cleanup.history_retention', '0');
$t->sql(q{UPDATE imagekit.history SET settled_at = settled_at - interval '4000 days' WHERE url ~ '/ids/'});
stays { $t->sql('SELECT imagekit.enable()'); $t->sql('SELECT count(*) FROM imagekit.history') } $left, 'unless they are to be kept for ever', 12;

done_testing();
