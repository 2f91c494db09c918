# A file that was queued for a server that is no more, and whose URL is now another's: it waits for what its account waits for. As
# long as it was taken for nobody's it was asked about again and again, whatever the account was stopped for.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { 'imagekit_cleanup.retry_delay' => '2s', 'imagekit_cleanup.retry_delay_max' => '60s' });
my $imagekit = $t->imagekit;
my $api = $imagekit->url;

# Server and key anew; what was queued for the old one strays.
sub make_anew
{
	my ($key, $more) = @_;
	$t->sql(qq{SET client_min_messages = error; DROP SERVER acme CASCADE;
		CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint '$ENDPOINT', api_url '$api' $more);
		CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (private_key '$key')});
	return;
}

# Into the backlog, as it is not due.
sub stray
{
	my ($key, $more, @names) = @_;
	$t->sql(q{ALTER SERVER acme OPTIONS (ADD grace_period '3 seconds')});
	$t->insert(1, @names);
	$t->sql('DELETE FROM patches');
	wait_for { $t->sql('SELECT count(*) FROM imagekit.backlog') == @names } 'in the backlog';
	make_anew($key, $more);
	return;
}

stray('private_wrong', '', map { "stopped$_.jpg" } 1 .. 3);
wait_for { $t->sql('SELECT count(*) FROM imagekit.account_state') } 'the account is stopped for its key', 20;
wait_for { $t->sql('SELECT failures FROM imagekit.account_state') >= 2 } 'and tried again', 30;
cmp_ok($imagekit->requests(qr/^GET/), '<=', 3, 'with a request at a time');
is($t->sql(q{SELECT count(*) FROM imagekit.backlog b JOIN pg_foreign_server s ON s.oid = b.server}), '3', 'its files are known to be its');
make_anew($KEY, '');
eventually { $t->files(prefix => '/stopped') } '', 'with the right key they go', 20;

stray($KEY, q{, max_deletes_per_hour '1'}, map { "limited$_.jpg" } 1 .. 3);
wait_for { ($t->cause // '') =~ /max_deletes_per_hour/ } 'the limit is reached', 20;
$imagekit->forget;
stays { scalar $imagekit->journal } 0, 'and nothing is asked meanwhile', 3;
is($t->sql('SELECT attempts, state FROM imagekit.pending LIMIT 1'), '0|waiting', 'no attempt is counted');

done_testing();
