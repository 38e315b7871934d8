# Homebrew: brew install --formula ./packaging/homebrew/kontext.rb
# Not run: there is no Homebrew where kontext is tested. `make dist` prints the archive whose digest
# belongs into sha256.
class Kontext < Formula
  desc "Edit images with words, through BFL's image API"
  homepage "https://example.org/kontext"
  url "https://example.org/kontext/kontext-0.9.0.tar.gz"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  license "MIT"

  depends_on "luarocks" => :build
  depends_on "pkgconf" => :build
  depends_on "curl"
  depends_on "jpeg-turbo"
  depends_on "lua"
  depends_on "openssl@3"

  uses_from_macos "zlib"

  resource "stb" do
    url "https://github.com/nothings/stb.git", branch: "master"
  end

  # What the command reads options and answers with, in a folder of its own.
  ROCKS = %w[argparse dkjson].freeze

  def install
    (buildpath/"include/stb").install resource("stb")
    ROCKS.each do |rock|
      system "luarocks", "--lua-version=#{lua_version}", "--tree=#{libexec}", "install", rock
    end
    ENV["LUA_PATH"] = "#{libexec}/share/lua/#{lua_version}/?.lua;;"
    system "make", "install", "PREFIX=#{prefix}", "LUA_VERSION=#{lua_version}", "WERROR=",
           "STB_INCDIR=#{buildpath}/include"
    # The interpreter that has the rocks.
    bin.env_script_all_files(libexec/"bin", LUA_PATH: "#{libexec}/share/lua/#{lua_version}/?.lua;;")
  end

  def lua_version
    Formula["lua"].version.major_minor
  end

  test do
    assert_equal "1248x832\n", shell_output("#{bin}/kontext size 3:2")
  end
end
