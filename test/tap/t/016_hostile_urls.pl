# Rows hold whatever users wrote. No value fails the DELETE, none makes another file go, and each is kept where a person can
# see it, with the reason.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;

# What an attacker, or a bug, would want to hit. Some lie under the very names that a sloppy reading would come to.
my @victims = ('/victim.jpg', '/pets/victim.jpg', '/secret/victim.jpg', '/a/b.jpg', '/pets', '/victim.jpg" OR name="x',
	'/%2e%2e/victim.jpg', '/victim%2Ejpg');
$imagekit->seed(@victims);
my $victims = $t->files;

# As SQL literals: what stands behind the endpoint.
my %refused = (
	'a control character' => q{E'/vic\\x01tim.jpg'},
	'an encoded control character' => q{'/pets/%00victim.jpg'},
	'a line break' => q{E'/victim.jpg\nX-Injected: 1'},
	'an encoded line break' => q{'/victim.jpg%0d%0aX-Injected:%201'},
	'a blank' => q{'/victim.jpg and more'},
	'an encoded slash' => q{'/pets%2Fvictim.jpg'},
	'an encoded backslash' => q{'/pets%5Cvictim.jpg'},
	'a backslash' => q{E'/pets\\\\victim.jpg'},
	'..' => q{'/pets/../victim.jpg'},
	'an encoded ..' => q{'/pets/%2e%2e/victim.jpg'},
	'.' => q{'/./victim.jpg'},
	'two slashes' => q{'/pets//victim.jpg'},
	'a folder' => q{'/pets/'},
	'no file' => q{'/'},
	'the bare endpoint' => q{''},
	'a broken escape' => q{'/victim%zz.jpg'},
	'half an escape' => q{'/victim.jpg%2'},
	'bytes that are not UTF-8' => q{'/victim%ff.jpg'},
	'a layer that is never closed' => q{'/tr:l-image,i-logo.png/victim.jpg'},
	'a layer closed twice' => q{'/tr:l-image,i-x.png,l-end,l-end/victim.jpg'},
	'a transformation in the middle' => q{'/pets/tr:w-100/victim.jpg'},
	'a transformation spelled with escapes' => q{'/%74r:w-100/victim.jpg'},
	'60 kB' => q{'/' || repeat('x', 60000) || '%'},
	'60 kB of slashes' => q{'/' || repeat('/x', 30000)},
	'60 kB of escapes' => q{'/' || repeat('%', 60000)});

# Readable, harmless, and not in the library: looked up, and nothing else.
my %absent = (
	'an injected search' => q{'/nothing.jpg%22%20OR%20name%20%3D%20%22victim.jpg'},
	'an injected search, from the other end' => q{'/%22%20OR%20%22%22%20%3D%20%22'},
	'a wildcard' => q{'/%2A'},
	'a lone quote' => q{'/%22'},
	'single quotes' => q{'/%27%20OR%20%271%27%3D%271'},
	'an escape of an escape' => q{'/pets/%252e%252e%252fvictim.jpg'},
	'an emoji' => q{'/' || chr(128049) || '.jpg'},
	'another case' => q{'/Victim.JPG'},
	'a name of 3,000 bytes' => q{'/' || repeat('n', 3000) || '.jpg'});

my $id = 0;
for my $what (sort(keys %refused, keys %absent))
{
	my $path = $refused{$what} // $absent{$what};
	$id++;
	is($t->messages("INSERT INTO patches VALUES ($id, ARRAY['$ENDPOINT' || $path]); DELETE FROM patches WHERE id = $id"),
		'', "DELETE of a row with $what succeeds");
}
is($t->messages(qq{
	INSERT INTO patches VALUES (1000, NULL, '{"imageUrl": {"a": ["$ENDPOINT/pets%2Fvictim.jpg", {"b": "$ENDPOINT/../victim.jpg"}], "n": 1e400}}');
	DELETE FROM patches}), '', 'so does one of a row with such URLs deep in a document');

# Longer than any URL: said, and not queued, so that it is not among those below.
like($t->messages("INSERT INTO patches VALUES (1001, ARRAY['$ENDPOINT/' || repeat('/x', 500000), '$ENDPOINT/' || repeat('%', 1000000)]);
	DELETE FROM patches"), qr/^[^\n]*WARNING:  a URL of \d{7} bytes is not queued for deletion\n(?!.*WARNING)/s, 'nor does a URL of 1 MB fail it');

my $refused = keys(%refused) + 2;
eventually {
	$t->sql(q{SELECT count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state <> 'failed') FROM imagekit.pending}) }
	"$refused|0", 'what cannot be read with certainty is parked';
is($t->sql(q{SELECT count(*) FROM imagekit.pending WHERE last_error !~ '^the URL cannot be read with certainty: \w|too long for a request' }),
	'0', 'each with its reason');
is($t->sql(q{SELECT outcome, count(*) FROM imagekit.history GROUP BY 1}), 'not_found|' . keys %absent,
	'what can be read is looked up and is not there');
is($t->files, $victims, 'no other file was hit');
is((scalar grep { !/^GET / } $imagekit->requests), 0, 'no delete was sent');
is((scalar grep { defined $_->{query} && $_->{query} =~ /pets%2F%2E|X-Injected/i } $imagekit->journal), 0, 'nothing was smuggled into a request');
unlike($t->log, qr/^X-Injected/m, 'nor into the log');
unlike($t->log, qr/[^\n]{20000}/, 'where no line is endless');

$t->insert(2000, 'plain.jpg');
$t->sql('DELETE FROM patches WHERE id = 2000');
eventually { $t->files } $victims, 'the worker goes on with the others';

# The same, uninvited to the queue by hand.
is($t->sql("SELECT imagekit.enqueue(ARRAY['$ENDPOINT/../victim.jpg', '$ENDPOINT/' || repeat('y', 1000000)])"), '2', 'enqueue() takes them');
eventually { $t->sql(q{SELECT count(*) FROM imagekit.pending WHERE state <> 'failed'}) } '0', 'and they are parked or settled';
is($t->files, $victims, 'the library is as it was');

done_testing();
