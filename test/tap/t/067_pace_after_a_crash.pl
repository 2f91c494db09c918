# What has been used of an account's pace is in shared memory, which a crash and a restart empty. A server that has just started does not
# take that for unused: it would send a second burst right after the first.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;
use Time::HiRes qw(time);

my ($RATE, $BURST) = (2, 10);
my $t = ImageKit::Test->new(settings => { restart_after_crash => 'on' });
my ($node, $imagekit) = ($t->node, $t->imagekit);
$t->sql("ALTER SERVER acme OPTIONS (SET write_rate '$RATE', SET write_burst '$BURST', ADD bulk_size '1')");

sub sent { return map { $_->{wall_ms} / 1000 } $imagekit->journal(method => 'DELETE'); }
sub launcher { my ($status, $pid) = $node->psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup launcher'"); return $pid; }

my $row = 0;
sub burst_at_once
{
	my ($what, $interrupt) = @_;
	$imagekit->forget;
	$row++;
	$t->insert($row, map { "${row}_$_.jpg" } 1 .. 24);
	$t->sql("DELETE FROM patches WHERE id = $row");
	wait_for { sent() >= $BURST } 'the burst is used up';
	$interrupt->();
	wait_for { sent() >= $BURST + 4 } 'it goes on', 30;
	my @sent = sent();
	my $most = 0;
	for my $from (0 .. $#sent)
	{
		for my $to ($from .. $#sent)
		{
			my $above = $to - $from + 1 - ($BURST + $RATE * ($sent[$to] - $sent[$from]));
			$most = $above if $above > $most;
		}
	}
	# The emulator's clock counts whole milliseconds, and one request comes late and the next at once.
	cmp_ok($most, '<', 1.5, "$what: never more than burst + rate * time");
	note sprintf '%s: %d in %.1f s', $what, scalar @sent, $sent[-1] - $sent[0];
	eventually { $t->files } '', "$what: all are deleted", 60;
	my $full_at = time() + $BURST / $RATE;
	wait_for { time() > $full_at } 'the bucket is full again';
	return;
}

burst_at_once('kill -9', sub {
	my $before = launcher();
	kill 'KILL', $t->worker;
	wait_for { my $now = launcher(); defined $now && $now =~ /^\d+$/ && $now ne $before } 'the server is back';
});
burst_at_once('restart', sub { $node->restart('immediate'); });
done_testing();
