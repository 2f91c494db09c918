# An outage that lasts says little, however many files meet it, and however many workers come and go meanwhile; and it ends by
# itself: nobody has to start anything again.

use strict;
use warnings;

use ImageKit::Test;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
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
my $tls_server;

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

# A server whose certificate nobody has signed: openssl's own. Undefined where there is none.
my $tls_directory = PostgreSQL::Test::Utils::tempdir();
sub start_tls
{
	my $free = PostgreSQL::Test::Cluster::get_free_port();
	chdir $tls_directory or die;
	system('openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out certificate -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 >openssl.log 2>&1') == 0
	  or return;
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		open(STDIN, '<', '/dev/null') && open(STDOUT, '>', 'server.log') && open(STDERR, '>&', \*STDOUT)
		  && exec('stdbuf', '-oL', 'openssl', 's_server', '-accept', "127.0.0.1:$free", '-cert', 'certificate', '-key', 'key', '-www', '-alpn', 'http/1.1');
		POSIX::_exit(127);
	}
	$tls_server = $pid;
	wait_for { -e 'server.log' && slurp_file('server.log') =~ /ACCEPT/ } 'the TLS server accepts';
	return "https://127.0.0.1:$free";
}
END { local $?; if ($tls_server) { kill 'TERM', $tls_server; waitpid($tls_server, 0); } }

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
	stream(1);
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

# No way there ----------------------------------------------------------------------------------------------------------

my $port = (split /:/, $imagekit->url)[2];
sub api_url { my ($url) = @_; $t->sql("ALTER SERVER acme OPTIONS (SET api_url '$url')"); return; }
my $tls = start_tls();
sub purges { return $t->sql('SELECT attempts, last_error FROM imagekit.purges'); }
# Those that wait are due at once; enable() wakes the worker.
sub purge_now { $t->sql('UPDATE imagekit.purges SET due_at = now()'); $t->sql('SELECT imagekit.enable()'); return; }
$t->sql(q{ALTER SERVER acme OPTIONS (ADD purge_cache 'true')});
for my $case (
	[ 'a name that cannot be resolved', 'https://name.invalid', 'retrying', 'the name in name\.invalid could not be resolved' ],
	[ 'a port where nobody listens', 'https://127.0.0.1:1', 'retrying', 'connection refused by 127\.0\.0\.1:1' ],
	[ 'no TLS at the port', "https://127.0.0.1:$port", 'retrying', '.*(SSL|TLS).*127\.0\.0\.1' ],
	[ 'a certificate that nobody has signed', $tls, 'waiting', '.*certificate.*127\.0\.0\.1' ])
{
	my ($name, $url, $state, $words) = @$case;
	next unless defined $url;
	$t->mark_log;
	# One that is deleted already, and is still to be purged.
	$imagekit->fault(kind => 'text_500', path => '/purge$');
	$t->insert(++$id, "purged$id.jpg");
	$t->sql("DELETE FROM patches WHERE id = $id");
	eventually { purges() } qr/\A1\|HTTP 500: /, "$name: a file is deleted, its purge waits";
	api_url($url);
	purge_now();
	eventually { purges() } qr/\A2\|$words/i, "$name: the purge that cannot be sent is tried again later, and says why";
	isnt($t->status, 'stopped', "$name: and the account is not stopped for it");
	stream(0.5);
	eventually { $t->sql(q{SELECT string_agg(DISTINCT state || ' ' || last_error, E'\n') FROM imagekit.pending}) } qr/\A($state $words[^\n]*\n?)+\z/i, "$name: all waits, and says why";
	cmp_ok(scalar(my @lines = complaints()), '<=', 7, "$name: few words");
	if ($state eq 'waiting')
	{
		eventually { $t->cause } qr/\A$words/i, "$name: and the account stops";
		is($t->sql('SELECT sum(attempts) FROM imagekit.pending WHERE due_at > now()') || 0, '0', "$name: without an attempt");
		$t->setting('imagekit_cleanup.ca_file', "'$tls_directory/certificate'");
		eventually { $t->cause } qr/\AHTTP 200: an HTML page/, "$name: with ca_file it is trusted, and is still not ImageKit";
		eventually { slurp_file("$tls_directory/server.log") } qr{^ALPN protocols advertised by the client: h2, http/1\.1$}m, "$name: HTTP/2 is offered";
		$t->setting('imagekit_cleanup.ca_file', "''");
	}
	api_url($imagekit->url);
	eventually { $t->pending . $t->files } '0', "$name: with the right address all goes";
	purge_now();
	eventually { purges() } '', "$name: and is purged";
}
is($t->sql(q{SELECT DISTINCT outcome FROM imagekit.history}), 'deleted', 'each was deleted by us');

# Midway: the file was found, and its delete is under way, when the way is lost.
for my $case (
	[ 'a name that cannot be resolved', 'https://name.invalid', 't', 'the name in name\.invalid could not be resolved' ],
	[ 'a certificate that nobody has signed', $tls, 'f', '.*certificate.*127\.0\.0\.1' ])
{
	my ($name, $url, $counted, $words) = @$case;
	next unless defined $url;
	$imagekit->fault(kind => 'stall', method => 'DELETE', count => 0);
	$t->insert(++$id, "midway$id.jpg");
	$t->sql("DELETE FROM patches WHERE id = $id");
	wait_for { $imagekit->stalled } 'a delete hangs';
	api_url($url);
	# One attempt is the delete's.
	eventually { $t->sql(q{SELECT state, attempts > 1, last_error FROM imagekit.pending}) } qr/\Aretrying\|$counted\|$words/i, "$name: after a delete that nobody has heard of: it waits, and says why";
	eventually { $t->cause } qr/\A$words/i, "$name: and the account stops" if $counted eq 'f';
	$imagekit->no_faults;
	$imagekit->release;
	api_url($imagekit->url);
	eventually { $t->pending . $t->files } '0', "$name: with the right address it goes";
	is($t->sql("SELECT outcome FROM imagekit.history WHERE url ~ 'midway$id\\M'"), 'deleted', "$name: it was not taken for being gone");
}
$t->sql(q{ALTER SERVER acme OPTIONS (DROP purge_cache)});

# Another key while requests hang ---------------------------------------------------------------------------------------

$t->setting('imagekit_cleanup.request_timeout', "'30s'");
wait_for { $t->sql('SHOW imagekit_cleanup.request_timeout') eq '30s' } 'the reload';
stream(0.1);
eventually { $t->pending . $t->files } '0', 'all is well';
$t->sql(q{ALTER SERVER acme OPTIONS (ADD purge_cache 'true', ADD allow_missing 'true')});
my $key = $KEY;
for my $case (
	[ 'a look-up', { method => 'GET' } ],
	# The only one without a name in it. With another key it is asked for anew, when nothing is found that could tell.
	[ 'a probe', { method => 'GET' }, 'private_unknown' ],
	[ 'a delete', { method => 'DELETE' } ],
	[ 'a purge', { path => '/purge$' } ])
{
	my ($name, $rule, $missing) = @$case;
	$imagekit->forget;
	$imagekit->fault(kind => 'headers', contains => 'name ', count => 0) if $missing;
	$imagekit->fault(kind => 'stall', %$rule);
	if ($missing)
	{
		$imagekit->accounts(account => 'acme', add_keys => [$missing]);
		$t->sql("ALTER USER MAPPING FOR PUBLIC SERVER acme OPTIONS (SET private_key '$missing')");
		$key = $missing;
		$t->sql("INSERT INTO patches VALUES (@{[ ++$id ]}, ARRAY[" . join(', ', map { "'$ENDPOINT/nowhere$_.jpg'" } 1 .. 12) . '])');
	}
	else { $t->insert(++$id, 'hangs1.jpg', 'hangs2.jpg'); }
	$t->sql('DELETE FROM patches');
	wait_for { $imagekit->stalled == 1 } "$name hangs";
	my $rotated = 'private_rotated_' . $name =~ s/\W/_/gr;
	$imagekit->accounts(account => 'acme', revoke_keys => [$key], add_keys => [$rotated]);
	$t->insert(++$id, 'revoked.jpg');
	$t->sql('DELETE FROM patches');
	eventually { $t->sql('SELECT cause FROM imagekit.account_state') } qr/\AHTTP 403: /, "$name hangs, the old key is good no more: the account stops";
	$t->sql("ALTER USER MAPPING FOR PUBLIC SERVER acme OPTIONS (SET private_key '$rotated')");
	$key = $rotated;
	$imagekit->no_faults;
	$imagekit->release;
	eventually { $t->pending . $t->files } '0', "$name: with the new one it goes on by itself, with what hung too";
	purge_now();
	eventually { purges() } '', "$name: nothing waits to be purged";
	is($t->sql(q{SELECT string_agg(DISTINCT outcome, ' ') FROM imagekit.history WHERE url !~ 'nowhere'}), 'deleted', "$name: nothing was taken for not being there");
	is($t->sql(q{SELECT count(*), min(outcome) FROM imagekit.history WHERE url ~ 'nowhere'}), '12|not_found', "$name: but for what is not") if $missing;
	# One that hung may have been done when it was given up.
	my %purged = map { $_->{body} =~ /(\w+\.jpg)/ => 1 } grep { $_->{status} == 201 } $imagekit->journal(path => '/v1/files/purge');
	is((join ' ', sort keys %purged), $missing ? 'revoked.jpg' : 'hangs1.jpg hangs2.jpg revoked.jpg', "$name: all that was deleted is purged");
}
$t->sql(q{ALTER SERVER acme OPTIONS (DROP purge_cache, DROP allow_missing)});
unlike($t->log, qr/private_/, 'and no key is in the log');

# ImageKit is started again ---------------------------------------------------------------------------------------------

for my $case ([ 'look-ups', 'GET' ], [ 'deletes', 'DELETE' ])
{
	my ($name, $method) = @$case;
	$imagekit->fault(kind => 'stall', method => $method, count => 0);
	my @left = map { "$name$_.jpg" } 1 .. 60;
	$t->insert(++$id, @left);
	$t->sql('DELETE FROM patches');
	wait_for { $imagekit->stalled >= 2 } "$name hang";
	$imagekit->stop;
	eventually { $t->sql(q{SELECT DISTINCT state || ' ' || last_error FROM imagekit.pending}) } qr/\A(retrying [^\n]*127\.0\.0\.1[^\n]*\n?)+\z/, "$name: nobody there: all is tried again, and says why";
	$imagekit->restart;
	# It knows the key only when its library is there again.
	$imagekit->seed({ filePath => '/stays.jpg' }, map { { filePath => "/$_", createdAt => '2020-01-01T00:00:00.000Z', updatedAt => '2020-01-01T00:00:00.000Z' } } @left);
	$imagekit->accounts(account => 'acme', add_keys => [$key]);
	eventually { $t->pending . $t->files } '0/stays.jpg', "$name: there again: all goes, and nothing else";
	is($t->sql(qq{SELECT count(*) FROM imagekit.history WHERE url ~ '$name' AND outcome = 'deleted'}), '60', "$name: each once");
}

# Two purges are under way, of the six that are to be sent.
$t->sql(q{ALTER SERVER acme OPTIONS (ADD purge_cache 'true')});
$imagekit->fault(kind => 'stall', path => '/purge$', count => 0);
my @purged = map { "purged$_.jpg" } 1 .. 6;
$t->insert(++$id, @purged);
$t->sql('DELETE FROM patches');
wait_for { $imagekit->stalled == 2 } 'purges hang';
wait_for { $t->pending . $t->files eq '0/stays.jpg' } 'the files are deleted';
$imagekit->stop;
eventually { $t->sql(q{SELECT count(*), bool_and(attempts = 1 AND last_error ~ '127\.0\.0\.1') FROM imagekit.purges}) } '6|t', 'purges: nobody there: all wait, and say why';
isnt($t->status, 'stopped', 'purges: the account goes on');
$imagekit->restart;
$imagekit->seed('/stays.jpg');
$imagekit->accounts(account => 'acme', add_keys => [$key]);
purge_now();
eventually { join ' ', sort map { $_->{url} } $imagekit->purges } join(' ', map { "$ENDPOINT/$_*" } @purged), 'purges: there again: all are purged, each once';
eventually { purges() } '', 'purges: and nothing is left';
is((join ' ', $imagekit->requests) =~ s{POST /v1/files/purge ?}{}gr, '', 'purges: nothing is looked up or deleted again');

done_testing();
