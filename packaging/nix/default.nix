# Nix: nix-build packaging/nix, in a checkout. Not run: there is no Nix where kontext is tested.
{ pkgs ? import <nixpkgs> { }, lua ? pkgs.lua5_4 }:

let
  env = lua.withPackages (ps: with ps; [ argparse lua-cjson ]);
in
pkgs.stdenv.mkDerivation {
  pname = "kontext";
  version = "0.9.0";
  src = pkgs.lib.cleanSource ../..;

  nativeBuildInputs = with pkgs; [ pkg-config makeWrapper env ];
  buildInputs = with pkgs; [ curl openssl zlib libjpeg stb lua ];

  # nixpkgs puts the headers of stb into include/stb.
  makeFlags = [
    "LUA_VERSION=${pkgs.lib.versions.majorMinor lua.version}"
    "LUA=${env}/bin/lua"
    "STB_INCDIR=${pkgs.stb}/include"
    "WERROR="
    "PREFIX=${placeholder "out"}"
  ];

  postInstall = ''
    patchShebangs $out/bin
    sed -i "1s|.*|#!${env}/bin/lua|" $out/bin/kontext
  '';

  doInstallCheck = true;
  installCheckPhase = ''
    test "$($out/bin/kontext size 3:2)" = 1248x832
  '';

  meta = {
    description = "Edit images with words, through BFL's image API";
    license = pkgs.lib.licenses.mit;
    mainProgram = "kontext";
  };
}
