-- @top as an entity: clk, and the words of all inputs and outputs end to end, the first in the lowest bits.
-- A jet may enter every @interval rising edge(s) of clk; what edge n took in is in model_out after edge n + @latency.
-- The subtypes of package @name_ports are the bits of each word. Written by hepprune.
library ieee;
use ieee.std_logic_1164.all;

package @name_ports is
  constant LATENCY : natural := @latency;
  constant INTERVAL : natural := @interval;
@ranges
end package;

library ieee;
use ieee.std_logic_1164.all;

entity @name is
  port (
    clk : in std_logic;
    model_inp : in std_logic_vector(@high_in downto 0);
    model_out : out std_logic_vector(@high_out downto 0)
  );
end entity;

architecture rtl of @name is
  component @top is
    port (
      clk : in std_logic;
      model_inp : in std_logic_vector(@high_in downto 0);
      model_out : out std_logic_vector(@high_out downto 0)
    );
  end component;
begin
  network : @top port map (clk => clk, model_inp => model_inp, model_out => model_out);
end architecture;
