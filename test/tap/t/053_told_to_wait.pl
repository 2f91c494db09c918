# "Too many requests", at every stage: nobody who sends for the account sends before the time is over, neither the worker that was
# told so nor another session, database or worker; no attempt is counted; other accounts are not held up.

use strict;
use warnings;

use ImageKit::Stages;
use ImageKit::Test;
use List::Util qw(max);
use POSIX qw(strftime);
use Test::More;
use Time::HiRes qw(time);

my $t = ImageKit::Test->new(
	ready => 0,
	settings => { 'imagekit_cleanup.retry_delay_max' => '300ms', 'imagekit_cleanup.worker_idle_timeout' => '0' });
$t->prepare(server => { search_size => 4, hold_above => 0, hold_fraction => 0 });
my $imagekit = $t->imagekit;
my $stages = ImageKit::Stages->new($t);

# A second database of the same account, and what it deletes in each round.
$t->sql('CREATE DATABASE second');
$t->prepare(db => 'second', server => { search_size => 4 });
my $second = 0;
sub remove_in_second
{
	$second++;
	$imagekit->seed("/second/$second.jpg");
	$t->sql("INSERT INTO patches VALUES ($second, '{$ENDPOINT/second/$second.jpg}'); DELETE FROM patches WHERE id = $second", 'second');
	return;
}

my %class = (reads => 'GET', writes => 'DELETE|POST');

# Requests of the class that came while there was time to wait. What was under way with the one that was refused does not count.
sub too_early
{
	my ($method, $wait) = @_;
	my @all = grep { $_->{method} =~ /\A($method)\z/ && $_->{path} !~ /purge/ } $imagekit->journal;
	my %early;
	for my $refused (grep { $_->{status} == 429 } @all)
	{
		$early{ $_->{seq} } = sprintf '%s after %d ms', ImageKit::Stages::kind($_), $_->{ms} - $refused->{ms}
		  for grep { $_->{ms} > $refused->{ms} + 150 && $_->{ms} < $refused->{ms} + $wait } @all;
	}
	return join ', ', map { $early{$_} } sort { $a <=> $b } keys %early;
}

sub refused { my ($method) = @_; return scalar grep { $_->{status} == 429 && $_->{method} =~ /\A($method)\z/ } $imagekit->journal }

$stages->look_ups;
remove_in_second();
eventually { $stages->state . $t->pending('second') } '0 ' . $stages->rest . '0', 'without a fault all goes, but for what is used';

for my $case (
	[ 'reads: X-RateLimit-Reset', 'reads', { reset => 1500 }, 1500 ],
	[ 'reads: X-RateLimit-Reset, and longer than files are held in hand', 'reads', { reset => 2500 }, 2500 ],
	[ 'reads: Retry-After', 'reads', { reset => 1, retry_after => '2' }, 2000 ],
	[ 'writes: X-RateLimit-Reset', 'writes', { reset => 1500 }, 1500 ],
	[ 'writes: X-RateLimit-Reset, and longer than files are held in hand', 'writes', { reset => 2500 }, 2500 ],
	[ 'writes: Retry-After, a date', 'writes', { reset => 1, retry_after => 'date' }, 2000 ])
{
	my ($name, $class, $headers, $wait) = @$case;
	my %headers = %$headers;
	$headers{retry_after} = strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time() + 4)) if ($headers{retry_after} // '') eq 'date';
	$imagekit->forget;
	# A storm: all that is under way together is refused.
	my $id = $imagekit->fault(kind => 'rate_limited', %headers, method => $class{$class}, count => 0);
	my $round = $stages->look_ups;
	wait_for { refused($class{$class}) } 'the first is refused';
	wait_for { $class eq 'writes' || $stages->asked(fault => 1) eq 'folder ids listing names single' } 'so is every kind of look-up';
	$imagekit->no_faults;
	remove_in_second();
	$imagekit->seed("/hand/$round.jpg");
	eventually { $stages->waits($round) } qr/\A(waiting \S+( HTTP 429[^\n]*| waits for its turn[^\n]*)?\n?)+\z/, "$name: all waits";
	is($t->sql("SELECT imagekit.delete_file('$ENDPOINT/hand/$round.jpg')"), 't', "$name: delete_file() in a session waits, and does it");
	eventually { $stages->state . $t->pending('second') } '0 ' . $stages->rest . '0', "$name: all goes in the end, but for what is used";
	is(too_early($class{$class}, $wait), '', "$name: nobody sends before the time is over");
	is($t->sql(q{SELECT count(*) FROM imagekit.history WHERE outcome NOT IN ('deleted', 'kept')}), '0', "$name: nothing is taken for not being there");
}

# Several in a row --------------------------------------------------------------------------------------------------------

# At the delete of one file, and at the question whose library it is: with another key it has to be asked anew, and nothing is found
# that could tell. Each refusal pauses anew, and is no attempt: there would be too many.
$t->sql(q{ALTER SERVER acme OPTIONS (ADD allow_missing 'true')});
$t->setting('imagekit_cleanup.max_attempts', 2);
wait_for { $t->sql('SHOW imagekit_cleanup.max_attempts') eq '2' } 'the reload';
# Milliseconds between a refusal and what came next, where they are fewer than WAIT.
sub too_close
{
	my ($wait, @all) = @_;
	return join ' ', grep { $_ < $wait } map { $all[ $_ + 1 ]{ms} - $all[$_]{ms} } grep { $all[$_]{status} == 429 } 0 .. $#all - 1;
}
for my $case ([ 'delete', 'writes' ], [ 'probe', 'reads' ])
{
	my ($name, $class) = @$case;
	my $round;
	$imagekit->forget;
	if ($name eq 'delete')
	{
		$imagekit->fault(kind => 'rate_limited', reset => 500, path => '^/v1/files/[0-9a-f]+$', method => 'DELETE', count => 4);
		$round = $stages->one;
	}
	else
	{
		$imagekit->accounts(account => 'acme', add_keys => ['private_anew']);
		$t->sql(q{ALTER USER MAPPING FOR PUBLIC SERVER acme OPTIONS (SET private_key 'private_anew')});
		# The probe is the only one without a name in it.
		$imagekit->fault(kind => 'headers', contains => 'name ', method => 'GET', count => 0);
		$imagekit->fault(kind => 'rate_limited', reset => 500, method => 'GET', count => 4);
		$round = 'nowhere';
		$t->sql('INSERT INTO patches VALUES (8000, ARRAY[' . join(', ', map { "'$ENDPOINT/$round/$_-$round.jpg'" } 1 .. 12) . ']); DELETE FROM patches WHERE id = 8000');
	}
	wait_for { refused($class{$class}) } 'it is refused';
	is($stages->outcomes($round), '', "$name: refused again and again: all waits");
	eventually { $stages->state } '0 ' . $stages->rest, "$name: all goes in the end";
	is($stages->outcomes($round), $name eq 'probe' ? '12 not_found' : '1 deleted', "$name: each once");
	is((join ' ', map { ImageKit::Stages::kind($_) } grep { $_->{status} == 429 } $imagekit->journal), join(' ', ($name) x 4), "$name: it was refused four times");
	is(too_close(500, grep { ImageKit::Stages::kind($_) eq $name } $imagekit->journal), '', "$name: and not asked for before any of the four times was over");
	is(too_early($class{$class}, 500), '', "$name: nor was anything else of its class");
	$imagekit->no_faults;
}
$t->sql(q{ALTER SERVER acme OPTIONS (DROP allow_missing)});
$t->setting('imagekit_cleanup.max_attempts', 20);

# The CDN ---------------------------------------------------------------------------------------------------------------

# Purges have a budget of their own: deletes go on, and purges wait, whoever sends them.
sub purges_left { return join '+', map { $t->sql('SELECT count(*) FROM imagekit.purges', $_) } 'postgres', 'second' }
$t->sql(q{ALTER SERVER acme OPTIONS (ADD purge_cache 'true')}, $_) for 'postgres', 'second';
$imagekit->forget;
$imagekit->fault(kind => 'rate_limited', reset => 4000, path => '/purge$', count => 1);
$stages->one;
eventually { $t->sql('SELECT attempts, last_error FROM imagekit.purges') } qr/^1\|HTTP 429/, 'a purge that is refused waits';
$stages->many;
remove_in_second();
eventually { $stages->state . $t->pending('second') } '0 ' . $stages->rest . '0', 'files are deleted all the same';
wait_for { $t->worker eq '' && $t->worker('second') eq '' } 'the workers have left' if purges_left() eq '1+0';
$t->sql('UPDATE imagekit.purges SET due_at = now()', $_) for 'postgres', 'second';
$stages->one;
eventually { purges_left() } '0+0', 'and purged later';
my ($told, @later) = grep { $_->{path} =~ /purge/ } $imagekit->journal;
is(join(', ', grep { $_ < 4000 } map { $_->{ms} - $told->{ms} } @later), '', 'no worker of any database purges before the time is over');
cmp_ok(scalar @later, '>=', 6, 'then all do');

# Several in a row: each of six is refused, and pauses those behind it.
$imagekit->forget;
$imagekit->fault(kind => 'rate_limited', reset => 500, path => '/purge$', count => 6);
my @six = map { "six/$_.jpg" } 1 .. 6;
$t->insert(9010, @six);
$t->sql('DELETE FROM patches WHERE id = 9010');
eventually { $t->sql(q{SELECT string_agg(DISTINCT attempts || ' ' || last_error, E'\n'), count(*) FROM imagekit.purges WHERE last_error IS NOT NULL}) } qr/\A(1 HTTP 429[^\n|]*\n?){6}\|6\z/, 'purges that are refused one after the other all wait';
is($stages->state, '0 ' . $stages->rest, 'the files are deleted all the same');
isnt($t->status, 'stopped', 'and the account goes on');
$t->sql('UPDATE imagekit.purges SET due_at = now()');
$stages->one;
eventually { purges_left() } '0+0', 'and all are purged later';
my @purges = grep { $_->{path} =~ /purge/ } $imagekit->journal;
is((join ' ', map { $_->{status} } @purges), join(' ', (429) x 6, (201) x 7), 'each once');
# Two are sent at once: of every other one the next but one had to wait.
is(too_close(500, @purges[ 0, 2, 4, 6 ]) . too_close(500, @purges[ 1, 3, 5, 6 ]), '', 'none before the time was over');

# A service that counts ------------------------------------------------------------------------------------------------

# It refuses what is more than it allows, which is less than what the account is configured for.
$t->sql(q{ALTER SERVER acme OPTIONS (DROP purge_cache, ADD bulk_size '4')});
$imagekit->limits(read_rate => 10, read_burst => 10, write_rate => 8, write_burst => 4);
$imagekit->forget;
my @strict = map { "strict$_/strict-$_.jpg" } 1 .. 60;
$t->insert(9000, @strict);
$t->sql('DELETE FROM patches');
eventually { $stages->state } '0 ' . $stages->rest, 'a service with narrower limits: all goes in the end';
is($t->sql(q{SELECT count(*) FROM imagekit.history WHERE url ~ 'strict' AND outcome = 'deleted'}), '60', 'each once');
cmp_ok(refused('GET'), '<=', 24, 'after few refusals');
$imagekit->limits(read_rate => 0, write_rate => 0);

# The account's own pace ------------------------------------------------------------------------------------------------

# Two databases and a session at once, which would be ten times faster. The session drains the first database, whose worker has to
# wait for it; then it deletes by hand.
my %pace = (read_rate => 10, read_burst => 5, write_rate => 5, write_burst => 3);
$t->sql('ALTER SERVER acme OPTIONS (' . join(', ', map { "SET $_ '$pace{$_}'" } sort keys %pace) . ", SET search_size '2')", $_) for 'postgres', 'second';
$t->sql(q{ALTER SERVER acme OPTIONS (DROP purge_cache, ADD bulk_size '4')}, 'second');
sub by_hand { my $done = 0; $done += $t->sql("SELECT imagekit.delete_file('$ENDPOINT/by-hand/$_.jpg')") eq 't' for 1 .. 4; return "$done deleted"; }
for my $case (
	[ 'drain()', sub { return $t->messages('DELETE FROM patches; CALL imagekit.drain()'); }, qr/NOTICE:  imagekit_cleanup: \d+ deleted/ ],
	[ 'delete_file()', sub { $t->sql('DELETE FROM patches'); return by_hand(); }, qr/\A4 deleted\z/ ])
{
	my ($name, $session, $says) = @$case;
	my %whose;
	for my $db ('postgres', 'second')
	{
		my @files = map { "$db-paced/$_.jpg" } 1 .. 40;
		$whose{$_} = $db for $imagekit->seed(map { "/$_" } @files);
		$t->sql('INSERT INTO patches VALUES (9001, ARRAY[' . join(', ', map { "'$ENDPOINT/$_'" } @files) . '])', $db);
	}
	$imagekit->seed(map { "/by-hand/$_.jpg" } 1 .. 4) if $name eq 'delete_file()';
	# Last, as purges keep a worker there for long: they are sent at the pace of writes too.
	$t->sql(q{ALTER SERVER acme OPTIONS (ADD purge_cache 'true')}, 'second') if $name eq 'delete_file()';
	wait_for { $t->worker eq '' && $t->worker('second') eq '' } 'the workers have left';
	$imagekit->forget;
	$t->sql('DELETE FROM patches', 'second');
	like($session->(), $says, "$name has its turn");
	eventually { $stages->state . $t->pending('second') } '0 ' . $stages->rest . '0', "$name: all goes in the end", 40;
	my %when;
	for my $entry (grep { $_->{deleted} } $imagekit->journal)
	{
		push @{ $when{ $whose{$_} } }, $entry->{ms} for grep { $whose{$_} } @{ $entry->{removed} };
	}
	cmp_ok($when{second}[0], '<', $when{postgres}[-1], "$name: neither database waits for the other");
	cmp_ok($when{postgres}[0], '<', $when{second}[-1], "$name: nor the other way round");
	my $rates = $imagekit->_get('rates', window_ms => 1000);
	cmp_ok($rates->{reads}{busiest}, '<=', $pace{read_rate} + $pace{read_burst}, "$name: together they keep to read_rate in every second");
	cmp_ok($rates->{writes}{busiest}, '<=', $pace{write_rate} + $pace{write_burst}, "$name: and to write_rate");
}

# A server that is being worked on ------------------------------------------------------------------------------------------

# 503 with Retry-After: the attempt counts, and nobody asks before the time is over.
$t->sql("SELECT imagekit.pause('acme')", 'second');
for my $case ([ 'reads', 'GET' ], [ 'writes', 'DELETE' ])
{
	my ($what, $method) = @$case;
	$imagekit->forget;
	$imagekit->fault(kind => 'status', status => 503, body => 'Down for maintenance', headers => { 'Retry-After' => '2' }, method => $method, count => 1);
	$imagekit->seed("/worked/$what.jpg", "/worked/$what-too.jpg");
	$t->sql("INSERT INTO patches VALUES (901, '{$ENDPOINT/worked/$what.jpg}'); DELETE FROM patches WHERE id = 901");
	wait_for { grep { $_->{status} == 503 } $imagekit->journal } "$what: 503";
	$t->sql("INSERT INTO patches VALUES (902, '{$ENDPOINT/worked/$what-too.jpg}'); DELETE FROM patches WHERE id = 902");
	eventually { $imagekit->count(prefix => '/worked') } 0, "$what: all goes afterwards", 40;
	my @of_class = grep { $_->{method} =~ /\A($class{$what})\z/ } $imagekit->journal;
	my ($refused) = grep { $_->{status} == 503 } @of_class;
	my ($next) = grep { $_->{seq} > $refused->{seq} } @of_class;
	cmp_ok($next->{ms} - $refused->{ms}, '>=', 1950, "$what: none came before Retry-After was over");
}
$t->sql("SELECT imagekit.resume('acme')", 'second');

# Other accounts --------------------------------------------------------------------------------------------------------

# One that has been told to wait for long holds up no other, nor a change of its own configuration, while many of its files
# are still to be looked up.
$t->sql(q{CREATE DATABASE third});
$t->prepare(db => 'third', server => { search_size => 1 });
my $other = ImageKit::Emulator->start(other => 'private_other');
$t->sql(qq{
	CREATE SERVER other FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/other', api_url '@{[ $other->url ]}');
	CREATE USER MAPPING FOR PUBLIC SERVER other OPTIONS (private_key 'private_other')}, 'third');
my $many = join ', ', map { "'$ENDPOINT/third/$_.jpg'" } 1 .. 200;
$imagekit->seed(map { "/third/$_.jpg" } 1 .. 200);
$imagekit->fault(kind => 'rate_limited', reset => 600_000, method => 'GET', count => 0);
$t->sql("INSERT INTO patches VALUES (1, ARRAY[$many]); DELETE FROM patches", 'third');
eventually { $t->sql(q{SELECT string_agg(DISTINCT state || ' ' || attempts, ', ') FROM imagekit.pending WHERE due_at > now() + interval '5 minutes'}, 'third')
	. $t->sql(q{SELECT count(*) FROM imagekit.pending WHERE due_at < now() + interval '5 minutes'}, 'third') } 'waiting 00',
  'told to wait for ten minutes, all 200 files are back in the queue, without an attempt';
$imagekit->no_faults;
$other->seed('/theirs.jpg');
$t->sql(q{UPDATE patches SET images = NULL; INSERT INTO patches VALUES (2, '{https://ik.imagekit.io/other/theirs.jpg}'); DELETE FROM patches}, 'third');
eventually { join ' ', $other->files } '', 'another account goes on meanwhile';

done_testing();
