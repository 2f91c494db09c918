# While ImageKit is asked, the worker holds nothing: no transaction, no snapshot, no lock on a table; and it is in nobody's
# way, neither of this database nor of another.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;
use Time::HiRes qw(time);

my $t = ImageKit::Test->new(settings => { 'imagekit_cleanup.request_timeout' => '60s' });
my $imagekit = $t->imagekit;
$t->sql(q{ALTER SERVER acme OPTIONS (ADD search_size '2', ADD bulk_size '2')});

for my $method ('GET', 'DELETE')
{
	my $id = $method eq 'GET' ? 1 : 2;
	$t->insert($id, map { "$method$_.jpg" } 1 .. 4);
	$imagekit->fault(kind => 'stall', method => $method, count => 2);
	$t->sql("DELETE FROM patches WHERE id = $id");
	wait_for { $imagekit->stalled == 2 } "two requests $method for two files each hang";

	my $worker = $t->worker;
	my %seen;
	for (1 .. 20)
	{
		$seen{ $t->sql(qq{
			SELECT concat_ws(' ', coalesce(xact_start::text, 'none'), coalesce(backend_xid::text, 'none'),
			                 coalesce(backend_xmin::text, 'none'), wait_event_type) FROM pg_stat_activity WHERE pid = $worker}) }++;
	}
	is(join(', ', keys %seen), 'none none none Extension', "$method: no transaction, no snapshot; it waits, and says so");
	is($t->sql("SELECT count(*) FROM pg_locks WHERE pid = $worker AND locktype <> 'advisory'"), 0, "$method: no lock but its own");

	# Row locks would show in the rows' xmax.
	is($t->sql('SELECT sum(n) FROM (SELECT cardinality(urls) AS n FROM imagekit.claims FOR UPDATE NOWAIT) s'), 4, "$method: no row is locked");
	my $start = time();
	$t->sql('ALTER TABLE patches ADD COLUMN more int; ALTER TABLE patches DROP COLUMN more; VACUUM FULL imagekit.history');
	cmp_ok(time() - $start, '<', 2, "$method: DDL on watched and own tables does not wait");

	$t->sql('CREATE DATABASE unrelated');
	$start = time();
	$t->sql('DROP DATABASE unrelated');
	cmp_ok(time() - $start, '<', 1, "$method: DROP DATABASE of another database does not wait");

	$imagekit->release;
	eventually { $t->files } '', "$method: released, the work is done";
}

done_testing();
