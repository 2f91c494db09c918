# ImageKit's own count of an account: asked for with each audit, and daily where the account has audit_every.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;
$imagekit->seed(map { { filePath => "/$_.jpg", size => 1000, createdAt => '2024-05-01T10:00:00.000Z' } } 1 .. 5);

sub asked { return scalar grep { $_->{path} eq '/v1/accounts/usage' } $imagekit->journal; }
sub history { return $t->sql(q{SELECT server, day = (now() AT TIME ZONE 'UTC')::date - 1, library_bytes, problem FROM imagekit.usage_history ORDER BY day}); }
my $due = q{SELECT at <= now(), at - now() BETWEEN interval '1 minute' AND interval '24 hours' FROM imagekit.next_errands WHERE errand = 'usage'};
sub due { return $t->sql($due); }

$t->sql('CALL imagekit.audit()');
is(history(), 'acme|t|5000|', 'an audit asks for the count of the day before');
my ($request) = grep { $_->{path} eq '/v1/accounts/usage' } $imagekit->journal;
my $days = $t->sql(q{SELECT format('startDate=%s&endDate=%s', (now() AT TIME ZONE 'UTC')::date - 1, (now() AT TIME ZONE 'UTC')::date)});
is("startDate=$request->{query}{startDate}&endDate=$request->{query}{endDate}", $days, 'from that day to the next, which is not counted in');
is($t->sql('SELECT count(*) FROM imagekit.next_errands'), 0, 'nobody asks by himself');

# The last audit was a moment ago; the count is that of yesterday.
$imagekit->forget;
is($t->sql(qq{BEGIN;
	UPDATE imagekit.usage_history SET day = day - 1, asked_at = asked_at - interval '1 day', library_bytes = 4000;
	ALTER SERVER acme OPTIONS (ADD audit_every '7 days');
	$due; COMMIT}), 't|f', 'with audit_every it is due');
eventually { history() } "acme|f|4000|\nacme|t|5000|", 'and asked';
is(due(), 'f|t', 'until tomorrow');
is(asked(), 1, 'once');
is(scalar(grep { ($_->{query}{sort} // '') eq 'ASC_CREATED' } $imagekit->journal), 0, 'the library is not listed for it');

# What is not said.
$imagekit->fault(kind => 'forbidden', path => '/accounts/usage', count => 0);
$t->sql(q{UPDATE imagekit.usage_history SET asked_at = asked_at - interval '1 day'});
$t->sql(q{ALTER SERVER acme OPTIONS (SET audit_every '8 days')});  # looks what is due
eventually { history() =~ /\nacme\|t\|5000\|.*403/ ? 'yes' : history() } 'yes', 'why there is none is said, and what was known before stays';
is(due(), 'f|t', 'and it is asked again some hours later');
is($t->sql('SELECT counted_bytes, unattributed_bytes FROM imagekit.storage'), '5000|0', 'the last count there is stands beside the audit');
like($t->messages('CALL imagekit.audit()'), qr/NOTICE:  imagekit_cleanup: ImageKit's own count for server "acme" is not known: .*403.*\n.*NOTICE:  imagekit_cleanup: audit of server "acme": 5 files/s, 'an audit is complete without it');

done_testing();
