<#
.SYNOPSIS
Keeps a PFX for the central certificate store, so that it can be put there by the switch, and again by a rollback.
.DESCRIPTION
Nothing is served differently afterwards. Only administrators can read what is kept.
Input:
  certificate   the name of the certificate
  name          the name under which the PFX is kept
  pfx           Base64 of the PFX, under the password of the central store
Output: nothing
Errors: denied, conflict, in-use, failed
#>
param($Request)

Invoke-Alone {
    $directory = Get-KeptDirectory $Request.certificate
    [void] [IO.Directory]::CreateDirectory($directory)
    Write-File ([IO.Path]::Combine($directory, $Request.name)) ([Convert]::FromBase64String($Request.pfx))
    @{}
}
