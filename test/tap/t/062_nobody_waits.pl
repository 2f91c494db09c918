# Nobody waits for a request that hangs: neither other files, nor a change of the configuration, nor another drain.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;
use Time::HiRes qw(time);

my $t = ImageKit::Test->new(settings => { 'imagekit_cleanup.request_timeout' => '60s', 'imagekit_cleanup.worker_idle_timeout' => '60s' });
my $imagekit = $t->imagekit;

my $row = 0;
sub remove { my (@names) = @_; $t->insert(++$row, @names); $t->sql("DELETE FROM patches WHERE id = $row"); return; }
sub gone { my ($name, $what) = @_; my $start = time(); eventually { $t->files(prefix => "/$name") } '', $what, 30; return time() - $start; }

for my $method ('GET', 'DELETE')
{
	my $name = lc $method;

	# Other files, at once.
	$imagekit->fault(kind => 'stall', method => $method, contains => $method eq 'GET' ? "hangs-$name.jpg" : '');
	remove("hangs-$name.jpg");
	wait_for { $imagekit->stalled } "a request $method hangs";
	remove("other-$name.jpg");
	cmp_ok(gone("other-$name.jpg", "$method hangs: another file is deleted"), '<', 5, 'at once');
	eventually { $t->pending } '1', 'while the first is still waited for';

	# A changed option: nothing is sent by the old ones, and the new ones hold soon.
	$t->sql(q{ALTER SERVER acme OPTIONS (ADD protect '/kept/')});
	$imagekit->seed("/kept/$name.jpg");
	$t->sql("INSERT INTO patches VALUES (1000, '{$ENDPOINT/kept/$name.jpg}'); DELETE FROM patches WHERE id = 1000");
	remove("after-$name.jpg");
	cmp_ok(gone("after-$name.jpg", "$method hangs: after a change of options another file is deleted"), '<', 15, 'soon');
	cmp_ok(gone("hangs-$name.jpg", 'and so is the one that hung'), '<', 15, 'without waiting for the answer') if $method eq 'GET';
	eventually { $t->pending } '0', 'all are settled';
	is($t->files(prefix => '/kept'), "/kept/$name.jpg", 'by the new options');
	is($imagekit->stalled, $method eq 'GET' ? 0 : $imagekit->stalled, 'with the request given up') if $method eq 'GET';
	$imagekit->no_faults;
	$imagekit->release;
	$t->sql(q{ALTER SERVER acme OPTIONS (DROP protect)});
	$imagekit->_post('remove', { filePaths => ["/kept/$name.jpg"] });
	eventually { $t->files } '', 'nothing is left';

	# Another drain.
	$imagekit->fault(kind => 'stall', method => $method, contains => $method eq 'GET' ? "hung-$name.jpg" : '');
	remove("hung-$name.jpg");
	wait_for { $imagekit->stalled } "a request $method of the worker hangs";
	my $start = time();
	$t->sql('CALL imagekit.drain()');
	cmp_ok(time() - $start, '<', 20, 'CALL imagekit.drain() has its turn');
	$imagekit->no_faults;
	$imagekit->release;
	eventually { $t->files . $t->pending } '0', 'and nothing is lost';
}
is($t->sql(q{SELECT string_agg(DISTINCT outcome, ' ' ORDER BY outcome) FROM imagekit.history}), 'deleted not_found skipped', 'what was given up in the middle of its delete is found to be gone, or deleted')
  if $t->sql(q{SELECT count(*) FROM imagekit.history WHERE outcome = 'not_found'}) ne '0';
is($t->sql(q{SELECT count(*) FROM imagekit.history WHERE outcome NOT IN ('deleted', 'not_found', 'skipped')}), '0', 'each has its outcome');

# A delete by hand is purged like any other.
$t->sql(q{ALTER SERVER acme OPTIONS (ADD purge_cache 'true')});
$imagekit->seed('/by_hand.jpg');
is($t->sql("SELECT imagekit.delete_file('$ENDPOINT/by_hand.jpg')"), 't', 'deleted by hand');
eventually { join ' ', map { $_->{url} } $imagekit->purges } "$ENDPOINT/by_hand.jpg*", 'and purged from the CDN by the worker';

done_testing();
