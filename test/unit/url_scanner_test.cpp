// Proves where the URLs in a text begin and end, rule by rule (the rules are in url_scanner.cpp).

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/url.h"

namespace imagekit {
namespace {

using Urls = std::vector<std::string>;

Urls Scan(std::string_view text) {
  Urls urls;
  UrlScanner scanner(text);
  std::string_view url;
  while (scanner.Next(&url)) urls.emplace_back(url);
  EXPECT_FALSE(scanner.Next(&url));
  return urls;
}

TEST(UrlScanner, NothingToFind) {
  for (const char* text : {"", " ", "cat.jpg", "/pets/cat.jpg", "//", "http:", "https:/a.example", "ftp://a.example",
                           "a // b", "x//a.example/cat.jpg", "(// comment)", "htt", "\"", "mailto:x@a.example"}) {
    EXPECT_EQ(Scan(text), Urls()) << text;
  }
}

// Rule 1: a text that begins with a URL.

TEST(UrlScanner, WholeTextIsOneUrl) {
  for (const char* url :
       {"https://a.example/cat.jpg", "HTTP://a.example/cat.jpg", "//a.example/cat.jpg", "https://",
        "https://a.example/cat.jpg.", "https://a.example/cat.jpg,", "https://a.example/x_(1).jpg)",
        "https://a.example/it's.jpg'", "https://a.example/\"cat\".jpg", "https://a.example/<cat>`.jpg"}) {
    EXPECT_EQ(Scan(url), Urls{url});
    EXPECT_EQ(Scan(std::string(" \t\n") + url + "\r\n "), Urls{url});
  }
}

TEST(UrlScanner, WhiteSpaceInsideStaysInTheUrl) {
  for (const char* text :
       {"https://a.example/my cat.jpg", "https://a.example/cat.jpg and more", "https://a.example/cat.jpg 2x",
        "//a.example/cat.jpg\nand more", "https://a.example/cat.jpg // a comment"}) {
    EXPECT_EQ(Scan(text), Urls{text});
  }
}

TEST(UrlScanner, ListsOfUrls) {
  const Urls two = {"https://a.example/1.jpg", "HTTP://b.example/2.jpg?x=1,2"};
  for (const char* separator : {" ", "\n", ", ", " , ", ",\n\t", "; ", " | ", ",", ";", "|"}) {
    EXPECT_EQ(Scan(two[0] + separator + two[1]), two) << separator;
    EXPECT_EQ(Scan(two[0] + separator + two[1] + ","), two) << separator;
  }
  EXPECT_EQ(Scan("//a.example/1 //b.example/2"), (Urls{"//a.example/1", "//b.example/2"}));
  EXPECT_EQ(Scan("https://a.example/tr:w-1,h-2/1.jpg,https://a.example/2.jpg"),
            (Urls{"https://a.example/tr:w-1,h-2/1.jpg", "https://a.example/2.jpg"}));
}

// What is cut in front of the next URL still shows that it was no clean URL, so that Read() refuses it.
TEST(UrlScanner, UrlBehindDoubtfulTextIsNotLost) {
  EXPECT_EQ(Scan("https://blog.example/post my text https://a.example/cat.jpg"),
            (Urls{"https://blog.example/post my text", "https://a.example/cat.jpg"}));
  EXPECT_EQ(Scan("https://blog.example/post ![x](https://a.example/my cat.jpg)"),
            (Urls{"https://blog.example/post ![x](", "https://a.example/my cat.jpg)"}));
  EXPECT_EQ(Scan("https://blog.example/x\">https://a.example/cat.jpg</a>"),
            (Urls{"https://blog.example/x\">", "https://a.example/cat.jpg</a>"}));
}

TEST(UrlScanner, UrlBehindASeparatorBeyondAsciiIsNotLost) {
  EXPECT_EQ(Scan("https://a.example/1.jpg\xE3\x80\x81https://a.example/2.jpg\xE3\x80\x82"),
            (Urls{"https://a.example/1.jpg\xE3\x80\x81", "https://a.example/2.jpg\xE3\x80\x82"}));
  EXPECT_EQ(Scan("\xE8\xA7\x81https://a.example/1.jpg\xEF\xBC\x8C\xE5\x92\x8Chttps://a.example/2.jpg"),
            (Urls{"https://a.example/1.jpg\xEF\xBC\x8C\xE5\x92\x8C", "https://a.example/2.jpg"}));
  EXPECT_EQ(Scan("https://a.example/caf\xC3\xA9/https://b.example/2.jpg").size(), 1u);
}

TEST(UrlScanner, WebProxyUrlIsOneUrl) {
  const std::string proxy = "https://a.example/acme/tr:w-1/https://else.example/cat.jpg";
  EXPECT_EQ(Scan(proxy), Urls{proxy});
  EXPECT_EQ(Scan("see " + proxy + "."), Urls{proxy});
  EXPECT_EQ(Scan("<img src=\"" + proxy + "\">"), Urls{proxy});
  EXPECT_EQ(Scan(proxy + " " + proxy), (Urls{proxy, proxy}));
}

// Rule 2: URLs in other text.

TEST(UrlScanner, HtmlAttributes) {
  EXPECT_EQ(Scan("<p>x<img alt='a' src=\"https://a.example/cat.jpg\"/><img src='//a.example/dog.jpg'>"),
            (Urls{"https://a.example/cat.jpg", "//a.example/dog.jpg"}));
  EXPECT_EQ(Scan("<img src=https://a.example/cat.jpg><img src=//a.example/dog.jpg width=1>"),
            (Urls{"https://a.example/cat.jpg", "//a.example/dog.jpg"}));
  EXPECT_EQ(Scan("<a href=\"https://a.example/my cat.jpg\">x</a>"), Urls{"https://a.example/my cat.jpg"});
  EXPECT_EQ(Scan("<a href=\"https://a.example/cat.jpg \">x</a>"), Urls{"https://a.example/cat.jpg"});
  EXPECT_EQ(Scan("<a href=\"https://a.example/cat.jpg?a=1&amp;b=2\">"), Urls{"https://a.example/cat.jpg?a=1&amp;b=2"});
  EXPECT_EQ(Scan("<b>https://a.example/cat.jpg</b>"), Urls{"https://a.example/cat.jpg"});
  EXPECT_EQ(Scan("<a href=\"https://a.example/cat.jpg"), Urls{"https://a.example/cat.jpg"});
}

TEST(UrlScanner, Css) {
  EXPECT_EQ(Scan("<i style=\"background:url(https://a.example/cat_(1).jpg)\">"), Urls{"https://a.example/cat_(1).jpg"});
  EXPECT_EQ(Scan("<i style=\"background:url('https://a.example/cat.jpg')\">"), Urls{"https://a.example/cat.jpg"});
  EXPECT_EQ(Scan("<i style=\"background:url(&quot;https://a.example/cat.jpg&quot;)\">"),
            Urls{"https://a.example/cat.jpg"});
  EXPECT_EQ(Scan("url(//a.example/cat.jpg)"), Urls{"//a.example/cat.jpg"});
  // The parenthesis is where the writer ended the URL: nothing more is taken off.
  EXPECT_EQ(Scan("url(https://a.example/cat!)"), Urls{"https://a.example/cat!"});
}

TEST(UrlScanner, Markdown) {
  EXPECT_EQ(Scan("![x](https://a.example/cat.jpg) and [y](https://a.example/x_(1).jpg \"title\")"),
            (Urls{"https://a.example/cat.jpg", "https://a.example/x_(1).jpg"}));
  EXPECT_EQ(Scan("see <https://a.example/cat.jpg>, <https://a.example/my cat.jpg>"),
            (Urls{"https://a.example/cat.jpg", "https://a.example/my cat.jpg"}));
  EXPECT_EQ(Scan("run `https://a.example/cat.jpg`"), Urls{"https://a.example/cat.jpg"});
  EXPECT_EQ(Scan("**https://a.example/cat.jpg** _https://a.example/b_.jpg_"),
            (Urls{"https://a.example/cat.jpg", "https://a.example/b_.jpg"}));
  EXPECT_EQ(Scan("|https://a.example/1.jpg|x|\n|https://a.example/2.jpg|https://a.example/3.jpg|"),
            (Urls{"https://a.example/1.jpg", "https://a.example/2.jpg", "https://a.example/3.jpg"}));
  EXPECT_EQ(Scan("[img]https://a.example/cat.jpg[/img]"), Urls{"https://a.example/cat.jpg"});
}

TEST(UrlScanner, Prose) {
  EXPECT_EQ(Scan("See https://a.example/cat.jpg, (https://a.example/dog.jpg) or (at https://a.example/cow.jpg)!"),
            (Urls{"https://a.example/cat.jpg", "https://a.example/dog.jpg", "https://a.example/cow.jpg"}));
  EXPECT_EQ(Scan("(https://a.example/cat.jpg, say)"), Urls{"https://a.example/cat.jpg"});
  EXPECT_EQ(Scan("Is it https://a.example/x_(1).jpg?!..."), Urls{"https://a.example/x_(1).jpg"});
  EXPECT_EQ(Scan("{a: [https://a.example/cat.jpg]}"), Urls{"https://a.example/cat.jpg"});
  EXPECT_EQ(Scan("it's https://a.example/it's.jpg, 'https://a.example/it's.jpg' and 'see https://a.example/cat.jpg'."),
            (Urls{"https://a.example/it's.jpg", "https://a.example/it's.jpg", "https://a.example/cat.jpg"}));
  EXPECT_EQ(Scan("xhttps://a.example/cat.jpg"), Urls{"https://a.example/cat.jpg"});
  EXPECT_EQ(Scan("of https://a.example/1.jpg,https://a.example/2.jpg."),
            (Urls{"https://a.example/1.jpg", "https://a.example/2.jpg"}));
}

// Cut at the space, these would name another file.
TEST(UrlScanner, NameWithASpaceIsNotCutShort) {
  EXPECT_EQ(Scan("see https://a.example/my cat.jpg now"), Urls{"https://a.example/my cat.jpg"});
  EXPECT_EQ(Scan("see https://a.example/my black cat.jpg, or not"), Urls{"https://a.example/my black cat.jpg"});
  EXPECT_EQ(Scan("![x](https://a.example/x cat.jpg)"), Urls{"https://a.example/x cat.jpg"});
  EXPECT_EQ(Scan("img https://a.example/tr:l-text,i-Hello World,l-end/a.jpg"),
            Urls{"https://a.example/tr:l-text,i-Hello World,l-end/a.jpg"});
  EXPECT_EQ(Scan("<img src=https://a.example/tr:w-{{ width }}/a.jpg>"),
            Urls{"https://a.example/tr:w-{{ width }}/a.jpg"});
  // Nothing to be cut, or nothing to go on with.
  EXPECT_EQ(Scan("see https://a.example/cat.jpg and dog.jpg"), Urls{"https://a.example/cat.jpg"});
  EXPECT_EQ(Scan("see https://a.example/cat and dogs"), Urls{"https://a.example/cat"});
  EXPECT_EQ(Scan("see https://a.example and dog.jpg"), Urls{"https://a.example"});
  EXPECT_EQ(Scan("see https://a.example/cat?x and dog.jpg"), Urls{"https://a.example/cat?x"});
  EXPECT_EQ(Scan("see https://a.example/cat\nand dog.jpg"), Urls{"https://a.example/cat"});
  EXPECT_EQ(Scan("see https://a.example/cat https://a.example/dog.jpg"),
            (Urls{"https://a.example/cat", "https://a.example/dog.jpg"}));
}

TEST(UrlScanner, Json) {
  EXPECT_EQ(Scan(R"({"url":"https://a.example/cat.jpg","more":["//a.example/dog.jpg"]})"),
            (Urls{"https://a.example/cat.jpg", "//a.example/dog.jpg"}));
  EXPECT_EQ(Scan(R"({"url":"https://a.example/my cat 2x"})"), Urls{"https://a.example/my cat 2x"});
  // JSON in a JSON string, and once more.
  EXPECT_EQ(Scan(R"({"x":"{\"url\":\"https://a.example/cat.jpg\",\"y\":1}"})"), Urls{"https://a.example/cat.jpg"});
  EXPECT_EQ(Scan(R"("{\\\"url\\\":\\\"https://a.example/cat.jpg\\\"}")"), Urls{"https://a.example/cat.jpg"});
  EXPECT_EQ(Scan(R"({"x":"\"see https://a.example/cat.jpg\""})"), Urls{"https://a.example/cat.jpg"});
  EXPECT_EQ(Scan(R"({"x":"<img src=\"https://a.example/cat.jpg\">","y":"\"https://a.example/dog.jpg"})"),
            (Urls{"https://a.example/cat.jpg", "https://a.example/dog.jpg"}));
  // A quote inside the value is no end: what comes out is refused for its backslash.
  EXPECT_EQ(Scan(R"({"url":"https://a.example/my\"cat.jpg"})"), Urls{R"(https://a.example/my\"cat.jpg)"});
  EXPECT_EQ(Scan(R"({"url":"https://a.example/a\u0026b.jpg"})"), Urls{R"(https://a.example/a\u0026b.jpg)"});
  EXPECT_EQ(Scan("<i data='{&quot;url&quot;:&quot;https://a.example/cat.jpg&quot;,&#34;//&#34;:1}'>"),
            Urls{"https://a.example/cat.jpg"});
  // Escaped slashes are out of scope.
  EXPECT_EQ(Scan(R"({"url":"https:\/\/a.example\/cat.jpg"})"), Urls());
}

TEST(UrlScanner, Entities) {
  EXPECT_EQ(Scan("&lt;https://a.example/my cat.jpg&gt;"), Urls{"https://a.example/my cat.jpg"});
  // The entity stays whole, so that Read() sees it and refuses.
  EXPECT_EQ(Scan("see https://a.example/cat.jpg&nbsp;"), Urls{"https://a.example/cat.jpg&nbsp;"});
  EXPECT_EQ(Scan("https://a.example/cat.jpg&quot;https://a.example/dog.jpg"),
            (Urls{"https://a.example/cat.jpg&quot;", "https://a.example/dog.jpg"}));
}

// Rule 3: lists in quotes.

TEST(UrlScanner, Srcset) {
  const Urls two = {"https://a.example/tr:w-1,h-2/1.jpg", "https://a.example/2.jpg"};
  for (const char* value : {"https://a.example/tr:w-1,h-2/1.jpg 1x, https://a.example/2.jpg 2x",
                            "https://a.example/tr:w-1,h-2/1.jpg 300w, https://a.example/2.jpg",
                            "https://a.example/tr:w-1,h-2/1.jpg,\n https://a.example/2.jpg 1.5x",
                            "https://a.example/tr:w-1,h-2/1.jpg 1x,https://a.example/2.jpg 20h",
                            "https://a.example/tr:w-1,h-2/1.jpg 1x , https://a.example/2.jpg 2x ,"}) {
    EXPECT_EQ(Scan(std::string("<img srcset=\"") + value + "\">"), two) << value;
    EXPECT_EQ(Scan(std::string("{\"x\":'") + value + "'}"), two) << value;
  }
  EXPECT_EQ(Scan("<img srcset=\"https://a.example/1.jpg 2x\">"), Urls{"https://a.example/1.jpg"});
  EXPECT_EQ(Scan(R"({"x":"<img data-srcSet=\"https://a.example/1.jpg 2x\">"})"), Urls{"https://a.example/1.jpg"});
  EXPECT_EQ(Scan("<img src=\"https://a.example/1.jpg 2x\">"), Urls{"https://a.example/1.jpg 2x"});
  EXPECT_EQ(Scan("<img srcset=\"https://a.example/my cat.jpg 2x, https://a.example/x 2y\">"),
            (Urls{"https://a.example/my cat.jpg", "https://a.example/x 2y"}));
  EXPECT_EQ(Scan("<img srcset=\"a.jpg 1x, https://a.example/2.jpg 2x\">"), Urls{"https://a.example/2.jpg"});
}

TEST(UrlScanner, QuoteThatIsNeverClosedHidesNothing) {
  EXPECT_EQ(Scan("say \"https://a.example/cat.jpg and <b>https://a.example/dog.jpg"),
            (Urls{"https://a.example/cat.jpg and <b>", "https://a.example/dog.jpg"}));
}

}  // namespace
}  // namespace imagekit
