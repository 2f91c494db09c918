# Between the last look at the tables and ImageKit's answer lies one request. Here it is stopped at each point of the way, and a
# row comes to use the file: before the look it keeps the file; after it, nothing can, and it is said.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { log_min_messages => 'debug1' });
my $imagekit = $t->imagekit;
my $id = 0;

# Stops the requests of METHOD at ImageKit's door, deletes a row, and runs SQL once the request stands there.
sub meanwhile
{
	my ($name, $method, $sql) = @_;
	$t->mark_log;
	$imagekit->fault(kind => 'stall', method => $method, count => 1);
	$t->insert(++$id, $name);
	$t->sql("DELETE FROM patches WHERE id = $id");
	wait_for { $imagekit->stalled } "a $method waits";
	$t->sql($sql =~ s/IMAGE/$ENDPOINT\/$name/gr);
	$imagekit->no_faults;
	$imagekit->release;
	wait_for { $t->sql("SELECT count(*) FROM imagekit.history WHERE url LIKE '%/$name'") } "$name is settled";
	return $t->sql("SELECT outcome, detail FROM imagekit.history WHERE url LIKE '%/$name'");
}

# A stalled request goes on as if nothing had been: the emulator deletes when it is released.
is(meanwhile('nothing.jpg', 'DELETE', 'SELECT 1'), 'deleted|', 'nothing comes between: deleted');
is($t->files, '', 'and gone');
is(join(' ', $t->log_lines(qr/came to use/)), '', 'and nothing is said of it');

# Before the look ---------------------------------------------------------------------------------------------------------

is(meanwhile('looked.jpg', 'GET', "INSERT INTO modules VALUES ($id, '{IMAGE}')"),
	'kept|still used by public.modules, source images', 'a row inserted while the file is looked up keeps it');
is($t->files(prefix => '/looked'), '/looked.jpg', 'and it is there');

# After it ----------------------------------------------------------------------------------------------------------------

for my $index ('with', 'without')
{
	$t->sql('DROP INDEX modules_images_idx') if $index eq 'without';
	my $name = "late_$index.jpg";
	my $outcome = meanwhile($name, 'DELETE', "INSERT INTO modules VALUES (100 + $id, '{IMAGE?tr=w-1}')");
	if ($index eq 'with')
	{
		is($outcome, 'deleted|while it was deleted, table public.modules came to use it, source images', 'the history says what nothing could prevent');
		my ($warning) = $t->log_lines(qr/came to use/);
		is($warning, "WARNING:  ImageKit file was deleted while a row came to use it: $ENDPOINT/$name", 'so does the log');
		like($t->log, qr/HINT:  Upload the image again to "\/\Q$name\E", or change the row\./, 'with the remedy');
		like($t->sql("SELECT string_agg(item || ': ' || answer, E'\\n') FROM imagekit.explain('$ENDPOINT/$name')"),
			qr/^history: deleted at .*while it was deleted, table public\.modules came to use it, source images; DELETE of a row of public\.patches at .*, by role .*, transaction \d+$/m, 'and explain()');
	}
	else
	{
		is($outcome, 'deleted|', 'where the table would have to be read as a whole, that is not done for a word only');
		$t->sql('CREATE INDEX modules_images_idx ON modules USING gin (images imagekit.url_array_ops)');
	}
	unlike($t->files, qr/\Q$name\E/, 'the file is gone');
}

# One that is not committed yet ---------------------------------------------------------------------------------------------

my $session = $t->node->background_psql('postgres');
$session->query_safe('BEGIN');
$session->query_safe("INSERT INTO modules VALUES (200, '{$ENDPOINT/open_row.jpg}')");
$t->mark_log;
$t->insert(++$id, 'open_row.jpg');
$t->sql("DELETE FROM patches WHERE id = $id");
eventually { $t->sql("SELECT last_error FROM imagekit.pending WHERE url LIKE '%/open_row.jpg'") } qr/^waits: a row of public\.modules that is not committed yet/,
  'a row inserted before the look and not committed is no gap';
my $asked = () = $t->log =~ /asks watched tables/g;
wait_for { (() = $t->log =~ /asks watched tables/g) > $asked + 2 } 'the tables are asked again and again';
is(scalar(grep { ($_->{query}{searchQuery} // '') =~ /open_row/ } $imagekit->journal), 1, 'but ImageKit only once');
like($t->sql("SELECT string_agg(item || ': ' || answer, E'\\n') FROM imagekit.explain('$ENDPOINT/open_row.jpg')"),
	qr/^used by: public\.modules 200, source images \(not committed yet\)\n.*^what happens: waits for the transaction that uses it: kept once that is committed$/ms, 'explain() says what it waits for');
is($t->messages("SELECT imagekit.delete_file('$ENDPOINT/open_row.jpg')") =~ /DETAIL:  failed: (.*)/ ? $1 : '',
	'a row of public.modules that is not committed yet uses it, source images.', 'and so does who asks by hand');
is($t->cause, '', 'the status has no word of a short wait');
# The file is in a drain's hands now and then.
eventually
{
	$t->sql(q{UPDATE imagekit.backlog SET captured_at = captured_at - interval '1 hour' WHERE captured_at > now() - interval '30 minutes'});
	$t->cause
}
qr/^1 file waits since .* for transactions that are not over: see pg_stat_activity\.xact_start and pg_prepared_xacts/, 'but of a long one';
isnt($t->status, 'stopped', 'which stops nothing else');
$session->query_safe('COMMIT');
eventually { $t->sql("SELECT outcome FROM imagekit.history WHERE url LIKE '%/open_row.jpg'") } 'kept', 'committed, it keeps the file';
is(join(' ', $t->log_lines(qr/came to use/)), '', 'and nothing was deleted for it');
$session->quit;

# By hand, and many in one round ----------------------------------------------------------------------------------------------

$imagekit->fault(kind => 'stall', method => 'DELETE', count => 1);
$imagekit->seed('/by_hand.jpg');
my $by_hand = $t->node->background_psql('postgres');
$by_hand->query_until(qr/asked/, "\\echo asked\nSELECT imagekit.delete_file('$ENDPOINT/by_hand.jpg');\n");
wait_for { $imagekit->stalled } 'a delete by hand waits';
$t->sql("INSERT INTO modules VALUES (300, '{$ENDPOINT/by_hand.jpg}')");
$imagekit->no_faults;
$imagekit->release;
eventually { $t->sql("SELECT outcome, detail, origin, role = current_user, transaction IS NOT NULL FROM imagekit.history WHERE url LIKE '%/by_hand.jpg'") }
  'deleted|while it was deleted, table public.modules came to use it, source images|H|t|t', 'a delete by hand says it as well, and who it was';
$by_hand->{stderr} = '';
$by_hand->quit;

my @names = map { "many$_.jpg" } 1 .. 20;
$t->insert(++$id, @names);
$imagekit->fault(kind => 'stall', method => 'DELETE', contains => '', count => 1);
$t->sql("DELETE FROM patches WHERE id = $id");
wait_for { $imagekit->stalled } 'one of many waits';
$t->sql("INSERT INTO modules VALUES (400, '{$ENDPOINT/many7.jpg,$ENDPOINT/many13.jpg}')");
$imagekit->no_faults;
$imagekit->release;
eventually { $t->sql("SELECT count(*) FROM imagekit.history WHERE url LIKE '%/many%'") } 20, 'twenty in a round are settled';
is($t->sql(q{SELECT string_agg(regexp_replace(url, '.*/', ''), ' ' ORDER BY url) FROM imagekit.history WHERE url LIKE '%/many%' AND detail ~ 'came to use|still used'}),
	'many13.jpg many7.jpg', 'those two, and no others, are said to be used');

done_testing();
