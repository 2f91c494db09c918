# An outage that lasts says little: however many files meet it, and however many workers come and go meanwhile.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;
use Time::HiRes qw(sleep time);

# Workers that leave as soon as there is nothing to do, so that many see the same.
my $t = ImageKit::Test->new(
	ready => 0,
	settings => { 'imagekit_cleanup.retry_delay_max' => '300ms', 'imagekit_cleanup.request_timeout' => '1s',
		'imagekit_cleanup.worker_idle_timeout' => '0' });
$t->prepare(server => { hold_above => 0, hold_fraction => 0 });
my $imagekit = $t->imagekit;
my $id = 0;

sub begin_anew
{
	$imagekit->no_faults;
	$t->sql('SELECT imagekit.retry()');
	eventually { $t->pending } '0', 'all is well again';
	$t->node->restart;
	$t->mark_log;
	return;
}

# Rows with one image each go for some seconds.
sub stream
{
	my ($seconds) = @_;
	for (my $until = time() + $seconds; time() < $until; )
	{
		$id++;
		$t->insert($id, "stream$id.jpg");
		$t->sql("DELETE FROM patches WHERE id = $id");
	}
	return;
}

sub complaints { return $t->log_lines(qr/^(WARNING|ERROR):/) }

stream(0.5);
for my $case (
	[ 'searches fail', { kind => 'text_500', method => 'GET' } ],
	[ 'deletes fail', { kind => 'html_502', method => 'DELETE' } ],
	[ 'searches are refused', { kind => 'status', status => 400, json => { message => 'No.' }, method => 'GET' } ],
	[ 'deletes are refused', { kind => 'status', status => 400, json => { message => 'No.' }, method => 'DELETE' } ],
	[ 'the key is not good', { kind => 'forbidden' } ],
	[ 'the key may not delete', { kind => 'forbidden', method => 'DELETE' } ],
	[ 'the answers are somebody else\'s', { kind => 'html_404' } ],
	[ 'the answers break off', { kind => 'truncated_json', method => 'GET' } ],
	[ 'the connections break', { kind => 'reset_before' } ])
{
	my ($name, $rule) = @$case;
	begin_anew();
	$imagekit->fault(%$rule, count => 0);
	stream(2);
	my @said = complaints();
	cmp_ok(scalar @said, '>=', 1, "$name: the log says so");
	cmp_ok(scalar @said, '<=', 7, "$name: in few lines") or diag join "\n", map { substr $_, 0, 150 } @said;
}

# One that comes and goes: many files are found, their deletes fail, the account stops; a look-up is answered, and it goes on.
begin_anew();
$t->setting('imagekit_cleanup.worker_idle_timeout', "'60s'");
$t->sql(q{ALTER SERVER acme OPTIONS (ADD bulk_size '1')});
$imagekit->fault(kind => 'text_500', method => 'DELETE', count => 0);
for (my $until = time() + 4; time() < $until; sleep 0.1)
{
	$id++;
	$t->insert($id, map { "flaps$id-$_.jpg" } 1 .. 30);
	$t->sql("DELETE FROM patches WHERE id = $id");
}
my @said = complaints();
cmp_ok(scalar(@said), '<=', 7, 'what comes and goes is not said each time') or diag join "\n", map { substr $_, 0, 150 } @said;
cmp_ok(scalar $t->log_lines(qr/sends for server "acme" again/), '<=', 5, 'nor that it has gone') or diag $t->cause;
is($t->sql(q{SELECT count(*) FROM imagekit.history WHERE url ~ 'flaps'}), '0', 'and nothing is settled');
$t->sql(q{ALTER SERVER acme OPTIONS (DROP bulk_size)});
begin_anew();
is($t->sql(q{SELECT DISTINCT outcome FROM imagekit.history}), 'deleted', 'all is deleted in the end');

done_testing();
